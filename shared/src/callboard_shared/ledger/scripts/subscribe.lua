-- ARGV: owner revision events("job.failed,…"). What the owner's endpoints want to hear of, as the change with this number
-- left it; one that comes late changes nothing.
local known = string.match(call("HGET", K.subscribed, ARGV[1]) or "", "^%d+")
if known and tonumber(known) > tonumber(ARGV[2]) then return 0 end
call("HSET", K.subscribed, ARGV[1], ARGV[2] .. " " .. ARGV[3])
return 1
