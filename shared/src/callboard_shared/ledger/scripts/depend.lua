-- ARGV: id (a job of this queue), then "queue id" of the job that waits for it.
-- Returns "missing", "pending" (it will be told), or how the job ended.
local status = call("HGET", K.job .. ARGV[1], "status")
if not status then return "missing" end
if TERMINAL[status] then return status end
call("HSET", K.job .. ARGV[1], "dependents", "1")
call("SADD", K.dependents .. ARGV[1], ARGV[2])
return "pending"
