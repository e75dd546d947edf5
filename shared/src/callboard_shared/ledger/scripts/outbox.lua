-- ARGV: "take" courier limit idle_ms | "done" row ids…
-- take: rows that this courier is to make deliveries of: new ones, and those that another took and did not finish
-- within idle_ms. done: strike rows. Returns {{row id, fields}…} or how many were struck.
local GROUP = "couriers"
if ARGV[1] == "done" then
  call("XACK", K.outbox, GROUP, unpack(ARGV, 2))
  return call("XDEL", K.outbox, unpack(ARGV, 2))
end
if call("EXISTS", K.outbox) == 0 then return {} end
if #call("XINFO", "GROUPS", K.outbox) == 0 then call("XGROUP", "CREATE", K.outbox, GROUP, "0") end
local rows = call("XAUTOCLAIM", K.outbox, GROUP, ARGV[2], ARGV[4], "0", "COUNT", ARGV[3])[2]
local fresh = call("XREADGROUP", "GROUP", GROUP, ARGV[2], "COUNT", ARGV[3], "STREAMS", K.outbox, ">")
if fresh then
  for _, row in ipairs(fresh[1][2]) do rows[#rows + 1] = row end
end
return rows
