-- A token that nobody has seen with each request.
local lead = tostring(os.time()) .. "-" .. tostring(math.random(1, 1000000000)) .. "-"
local number = 0
request = function()
  number = number + 1
  return wrk.format(nil, nil, {["Authorization"] = "Bearer unknown-" .. lead .. number})
end
