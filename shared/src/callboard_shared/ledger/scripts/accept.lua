-- A pipeline is accepted: its record is written, with the jobs that are to be submitted for it.
-- ARGV: id owner spec hook retention(ms) steps(number) jobs(JSON) watch. Returns 1, or 0 if it was there already.
local id, owner = ARGV[1], ARGV[2]
local key = K.pipeline .. id
if call("EXISTS", key) == 1 then return 0 end
call("HSET", key, "owner", owner, "created", int(NOW), "spec", ARGV[3], "hook", ARGV[4], "retention", ARGV[5], "left",
  ARGV[6], "jobs", ARGV[7])
if ARGV[8] ~= "" then call("HSET", key, "watch", ARGV[8] .. " ") end
call("ZADD", K.pipelines .. owner, int(NOW), id)
call("ZADD", K.due, NOW + PATIENCE_MS, id)
return 1
