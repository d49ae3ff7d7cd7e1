-- One token, and a header line that no request before had.
local number = 0
request = function()
  number = number + 1
  wrk.headers["X-Trace-Id"] = number
  return wrk.format()
end
