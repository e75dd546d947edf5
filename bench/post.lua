-- wrk posts jobs and ends after a count of answers; wrk alone knows only an end by time.
-- BENCH_BODIES: a file with one JSON body a line, sent in turn; BENCH_COUNT: answers to await;
-- BENCH_KEY: the API key; BENCH_PREFER: the Prefer header (may be empty). One thread (-t1) only.
-- What it prints last is JSON: {"statuses": {"202": n, …}, "start": s, "end": s}, seconds of CLOCK_MONOTONIC.
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long ns; } moment; int clock_gettime(int clock, moment *m);")

local function now()
  local moment = ffi.new("moment")
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.s) + tonumber(moment.ns) / 1e9
end

function init(args)
  requests, sent, got, statuses, start = {}, 0, 0, {}, nil
  count = tonumber(os.getenv("BENCH_COUNT"))
  local headers = { ["Content-Type"] = "application/json" }
  local key, prefer = os.getenv("BENCH_KEY"), os.getenv("BENCH_PREFER")
  if key and key ~= "" then headers["Authorization"] = "Bearer " .. key end
  if prefer and prefer ~= "" then headers["Prefer"] = prefer end
  for line in io.lines(os.getenv("BENCH_BODIES")) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, line)
  end
end

function request()
  if sent == 0 then start = now() end
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end

function response(status, headers, body)
  got = got + 1
  statuses[status] = (statuses[status] or 0) + 1
  if got < count then return end
  local parts = {}
  for seen, n in pairs(statuses) do parts[#parts + 1] = string.format('"%d": %d', seen, n) end
  print(string.format('\n{"statuses": {%s}, "start": %.6f, "end": %.6f}', table.concat(parts, ", "), start, now()))
  io.stdout:flush()
  os.exit(0)
end
