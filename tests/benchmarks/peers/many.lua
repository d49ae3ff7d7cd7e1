-- The same tokens over and over, in order: more of them than the memory holds.
local number = 0
request = function()
  number = number % 1500 + 1
  return wrk.format(nil, nil, {["Authorization"] = "Bearer known-" .. number})
end
