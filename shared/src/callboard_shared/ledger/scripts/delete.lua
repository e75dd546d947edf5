-- ARGV: id. Returns {"missing"} | {"unfinished"} | {"held", the batch that has not ended} | {"deleted", file ids as "a b c"}
local job = load_job(ARGV[1])
if not job then return { "missing" } end
if not TERMINAL[job.status] then return { "unfinished" } end
if job.group and call("EXISTS", K.tally .. job.group) == 1 then return { "held", job.group } end
local files = call("HGET", K.job .. ARGV[1], "files") or ""
forget(ARGV[1], job.owner)
return { "deleted", files }
