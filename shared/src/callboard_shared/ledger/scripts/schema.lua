-- The version of the layout. KEYS: version, lock of the migration.
-- ARGV: "read" newest pattern  -> the version; a ledger that holds nothing of ours gets, and has, the newest
--       | "move" from to name  -> 1, or 0 if the version is no longer "from" or the lock no longer held under this name
local call = redis.call
local version = call("GET", KEYS[1])
if ARGV[1] == "read" then
  if version then return tonumber(version) end
  local cursor = "0"
  repeat
    local page = call("SCAN", cursor, "MATCH", ARGV[3], "COUNT", 1000)
    if #page[2] > 0 then return 0 end
    cursor = page[1]
  until cursor == "0"
  call("SET", KEYS[1], ARGV[2])
  return tonumber(ARGV[2])
end
if (version or "0") ~= ARGV[2] or call("GET", KEYS[2]) ~= ARGV[4] then return 0 end
call("SET", KEYS[1], ARGV[3])
call("DEL", KEYS[2])
return 1
