-- ARGV: id. Returns {"missing"} | {"unfinished"} | {"deleted", file ids as "a b c"}
local job = load_job(ARGV[1])
if not job then return { "missing" } end
if not TERMINAL[job.status] then return { "unfinished" } end
local files = call("HGET", K.job .. ARGV[1], "files") or ""
forget(ARGV[1], job.owner)
return { "deleted", files }
