-- wrk's requests: another bearer in each, and another row, name or filter, so that nothing is answered
-- from what was just answered. wrk ... URL -- ROUTE FILE-OF-TOKENS ROWS

local route, rows
local tokens, number = {}, 0
local began = os.date("!%Y-%m-%dT%H:%M:%S", os.time() - 1e9)

init = function(args)
  route, rows = args[1], tonumber(args[3])
  for token in io.lines(args[2]) do
    tokens[#tokens + 1] = "Bearer " .. token
  end
  math.randomseed(os.time())
end

local function user()
  return "/api/users/" .. math.random(rows)
end

local asked = {
  one = function()
    return wrk.format("GET", user())
  end,
  -- All rows are younger than this, so it is the first page in ever new words.
  list = function()
    return wrk.format("GET", string.format("/api/users?limit=20&created_from=%s.%06dZ", began, number))
  end,
  kept = function()
    return wrk.format("GET", "/api/users?limit=20")
  end,
  write = function()
    wrk.headers["Content-Type"] = "application/json"
    return wrk.format("PATCH", user(), nil, string.format('{"name": "Name %s.%06d"}', began, number))
  end,
}

request = function()
  number = number + 1
  wrk.headers["Authorization"] = tokens[math.random(#tokens)]
  return asked[route]()
end
