-- ARGV: id gateway. From now on the gateway hears of this job. Returns 0 if there is no such job.
local known = call("HMGET", K.job .. ARGV[1], "status", "watch")
if not known[1] then return 0 end
add_watcher(ARGV[1], known[2], ARGV[2])
return 1
