-- ARGV: gateway window_ms limit, then per reader: owner after(id of an entry; "": from now on). For window_ms from now
-- on the owner's feed is kept, and the gateway hears of it. Returns per reader {gap, last id, entries after that one}.
-- gap (0/1): what came after that one is not all here any more: trimmed, or nobody followed the feed for longer.
local gateway, window, limit, reply = ARGV[1], tonumber(ARGV[2]), ARGV[3], {}

local function before(one, other)
  local ms, n = string.match(one, "(%d+)-(%d+)")
  local other_ms, other_n = string.match(other, "(%d+)-(%d+)")
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms < other_ms or ms == other_ms and tonumber(n) < tonumber(other_n)
end

local function keep(owner, key)
  local known = followers(owner)
  local names = known and known.names or " "
  local till = known and tonumber(string.match(call("HGET", K.feeds, owner), "^%d+")) or 0
  if not known then -- an entry that tells nothing, so that the feed has a first and a last one from its start
    call("XTRIM", key, "MAXLEN", 0)
    call("XADD", key, "*", "kind", "", "job", "", "type", "", "data", "")
  end
  local heard = string.find(names, " " .. gateway .. " ", 1, true)
  if not heard then names = names .. gateway .. " " end
  if not heard or till < NOW + window / 2 then
    call("HSET", K.feeds, owner, int(NOW + window) .. names)
    call("PEXPIRE", key, window + 60000)
    feeds[owner] = { names = names }
  end
end

for i = 4, #ARGV, 2 do
  local owner, after = ARGV[i], ARGV[i + 1]
  local key = K.feed .. owner
  keep(owner, key)
  local first, last = call("XRANGE", key, "-", "+", "COUNT", 1)[1], call("XREVRANGE", key, "+", "-", "COUNT", 1)[1]
  local gap = after ~= "" and (not first or before(after, first[1]))
  local entries = {}
  if after ~= "" and not gap then entries = call("XRANGE", key, "(" .. after, "+", "COUNT", limit) end
  reply[#reply + 1] = { gap and 1 or 0, last and last[1] or int(NOW) .. "-0", entries }
end
return reply
