-- ARGV: runner. Returns {id, attempt} of every job that the ledger thinks it runs.
local reply = {}
for _, id in ipairs(call("ZRANGE", K.lease, 0, -1)) do
  local job = call("HMGET", K.job .. id, "worker", "attempt")
  if job[1] == ARGV[1] then reply[#reply + 1] = { id, job[2] } end
end
return reply
