-- ARGV: id gateway. From now on the gateway hears of this job. Returns 0 if there is no such job.
local known = call("HMGET", K.job .. ARGV[1], "status", "watch")
if not known[1] then return 0 end
local watch = known[2] or ""
if not string.find(watch, ARGV[2], 1, true) then
  call("HSET", K.job .. ARGV[1], "watch", watch .. ARGV[2] .. " ")
end
return 1
