-- ARGV: max_waiting max_turns max_bytes (0: no limit), then per job: id owner type priority run_at expires_in timeout
--       max_attempts retention batch weight hook watch dependencies("a b c") spec says pipeline group
--       run_at, expires_in: ms or ""; pipeline: the one of which it is a step, or ""
--       group: "", or the batch of which it is a line, with what its owner calls it: "batch label"
--       says: "", or JSON {conversation, body (JSON), title, replaces}: the job answers this message of a conversation
-- Returns {ring, online workers, paused, {id status created position eta existed}…}. A status that is none accepts
-- nothing: "limit" (waiting), with in place of created how many may, of eta when to come again; of the conversation "unknown", "full", "busy" (in place of created the job that answers).
-- Fails with an OOM error, as Redis itself does later, while the sweep has found memory short: what was accepted
-- needs the rest, and the bells (Celery's messages, in the same Redis) do too.
local held_up = call("HMGET", K.stats, "full", "paused")
if held_up[1] then return redis.error_reply("OOM the ledger is nearly full") end

local STRIDE = 18
local max_waiting, max_turns, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local jobs = (#ARGV - 3) / STRIDE
local sequence = call("HINCRBY", K.stats, "sequence", jobs) - jobs
local online = call("ZCOUNT", K.workers, NOW, "+inf")
local reply, added, place, fresh = { 0, online, held_up[2] and 1 or 0 }, {}, {}, 0
local owned, expiry, caps, groups = {}, {}, {}, {}

for n = 0, jobs - 1 do
  local at = 4 + n * STRIDE
  local id, owner, job_type, priority = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local run_at, expires_in, dependencies = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), ARGV[at + 13]
  local key = K.job .. id
  local known = call("HMGET", key, "status", "created")
  if known[1] then
    reply[#reply + 1] = { id, known[1], known[2], position(id, owner, priority), false, 1 }
  else
    if not added[owner] then
      added[owner] = { tonumber(call("HGET", K.waiting, owner) or "0"), 0 }
      caps[owner] = cap_of(owner, "waiting")
    end
    local group, label
    if ARGV[at + 17] ~= "" then group, label = string.match(ARGV[at + 17], "^(%S+) (.*)$") end
    local says, refused, by, when = ARGV[at + 15] ~= "" and cjson.decode(ARGV[at + 15]), nil, nil, false
    local counted = ARGV[at + 16] == "" and not group -- pipelines and batches were judged as a whole
    local most = counted and (caps[owner] or max_waiting) or 0
    if most > 0 and added[owner][1] + added[owner][2] >= most then
      -- One start may take longer than the mean; a hundredth of many takes as long as it says.
      refused, by, when = "limit", int(most), room_ms(priority, math.max(2, most / 100))
    elseif says then
      refused, by = hindrance(says, owner, max_turns, max_bytes)
    end
    if refused then
      reply[#reply + 1] = { id, refused, by or "", false, when, 0 }
    else
      if not group then added[owner][2] = added[owner][2] + 1 end
      sequence = sequence + 1
      local status = "queued"
      if dependencies ~= "" then status = "blocked" elseif run_at and run_at > NOW then status = "scheduled" end
      local fields = { "status", status, "type", job_type, "owner", owner, "priority", priority,
        "sequence", int(sequence), "attempt", "0", "max_attempts", ARGV[at + 7], "timeout", ARGV[at + 6],
        "retention", ARGV[at + 8], "created", int(NOW) }
      local function set(name, value)
        fields[#fields + 1] = name
        fields[#fields + 1] = value
      end
      if ARGV[at + 9] ~= job_type then set("batch", ARGV[at + 9]) end
      if ARGV[at + 10] ~= "1" then set("weight", ARGV[at + 10]) end
      if ARGV[at + 11] ~= "" then set("hook", ARGV[at + 11]) end
      if ARGV[at + 12] ~= "" then set("watch", ARGV[at + 12] .. " ") end
      if ARGV[at + 16] ~= "" then set("pipeline", ARGV[at + 16]) end
      if group then
        set("group", group)
        if label ~= "" then set("label", label) end
        groups[group] = (groups[group] or 0) + 1
      end
      if run_at and run_at > NOW then set("due", ARGV[at + 4]) end
      if expires_in then
        local expires = math.max(NOW, run_at or NOW) + expires_in
        set("expires", int(expires))
        expiry[#expiry + 1] = expires
        expiry[#expiry + 1] = id
      end
      if says then
        set("conversation", says.conversation)
        join(id, says)
      end
      call("HSET", key, unpack(fields))
      meter("sent|" .. job_type, 1)
      call("SET", K.spec .. id, ARGV[at + 14])
      local own = owned[owner] or {}
      owned[owner] = own
      own[#own + 1] = NOW
      own[#own + 1] = id
      local spot, when = false, false
      if status == "queued" then
        add_ready(id, owner, priority, int(sequence))
        fresh = fresh + 1
        -- Jobs of one call mostly come from one owner at one priority: then each stands one further back.
        local lane = priority .. ":" .. owner
        if place[lane] and call("ZCARD", K.rota .. priority) == 1 then
          spot = place[lane] + 1
        else
          spot = position(id, owner, priority)
        end
        place = { [lane] = spot }
        when = eta(spot, job_type)
      elseif status == "scheduled" then
        call("ZADD", K.due, run_at, id)
      else
        call("ZADD", K.blocked, NOW + PATIENCE_MS, id)
        for other in string.gmatch(dependencies, "%S+") do call("SADD", K.waits .. id, other) end
      end
      feed(owner, "status", id, job_type, '{"status":"' .. status .. '","attempt":0}')
      reply[#reply + 1] = { id, status, int(NOW), spot, when, 0 }
    end
  end
end

for owner, entries in pairs(owned) do call("ZADD", K.owned .. owner, unpack(entries)) end
if #expiry > 0 then call("ZADD", K.expiry, unpack(expiry)) end
for group, n in pairs(groups) do call("HINCRBY", K.tally .. group, "submitted", n) end
for owner, count in pairs(added) do count_waiting(owner, count[2]) end
write_meters()
if fresh > 0 then reply[1] = call_for_hands() end
return reply
