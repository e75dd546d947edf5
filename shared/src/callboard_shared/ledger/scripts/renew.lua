-- ARGV: runner lease_ms, then per job: id attempt
-- Returns per job "held", "canceling" or "lost". A lost job belongs to somebody else, or has ended.
local runner, lease_ms, reply = ARGV[1], tonumber(ARGV[2]), {}
call("ZADD", K.runners, NOW + lease_ms, runner)
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local job = call("HMGET", K.job .. id, "status", "attempt", "worker")
  local held = (job[1] == "running" or job[1] == "canceling") and job[2] == ARGV[i + 1] and job[3] == runner
  if held then call("ZADD", K.lease, "XX", NOW + lease_ms, id) end
  reply[#reply + 1] = held and (job[1] == "canceling" and "canceling" or "held") or "lost"
end
return reply
