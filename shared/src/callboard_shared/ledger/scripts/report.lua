-- ARGV: runner id attempt progress(JSON or "") per_event: kind data …
-- Appends events of a running job. Returns "held", "canceling" or "lost" (then nothing was written).
local runner, id, attempt, progress = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local job = call("HMGET", K.job .. id, "status", "attempt", "worker", "watch", "owner", "type")
local active = job[1] == "running" or job[1] == "canceling"
if not active or job[2] ~= attempt or job[3] ~= runner then return "lost" end
if progress ~= "" then
  call("HSET", K.job .. id, "progress", progress)
  feed(job[5], "progress", id, job[6], progress)
end
for i = 5, #ARGV, 2 do emit(id, ARGV[i], ARGV[i + 1]) end
if #ARGV > 4 then notify(id, job[4]) end
return job[1] == "canceling" and "canceling" or "held"
