-- What the scripts share. KEYS[1] is the queue's base key; K holds its keys by name (see keys.py).
-- All times are the ledger's own, in milliseconds.
local call = redis.call
local clock = call("TIME")
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local PATIENCE_MS = 5000 -- after which the sweep does what whoever was to do it has not done
local TERMINAL = { succeeded = true, failed = true, canceled = true, expired = true }

local function int(value) return string.format("%.0f", value) end

local function line_key(priority, owner) return K.line .. priority .. ":" .. owner end

-- Tell the gateways that watch this job (field "watch": names, each followed by a blank).
local function notify(id, watch)
  if watch then
    for name in string.gmatch(watch, "%S+") do call("PUBLISH", NEWS .. name, id) end
  end
end

-- From now on the gateway is among those that watch this job; watch: the field as it is, or false.
local function add_watcher(id, watch, gateway)
  if not string.find(watch or "", gateway, 1, true) then
    call("HSET", K.job .. id, "watch", (watch or "") .. gateway .. " ")
  end
end

local function emit(id, kind, data)
  return call("XADD", K.events .. id, "MAXLEN", "~", "20000", "*", "kind", kind, "data", data)
end

-- An owner's feed: what happens to all its jobs here, kept while somebody follows it (see feed.lua; K.feeds has, for
-- each followed owner, until when and by which gateways). Of an owner whom nobody follows it costs one look a script run.
local feeds = {}
local function followers(owner)
  if feeds[owner] == nil then
    local till, names = string.match(call("HGET", K.feeds, owner) or "", "^(%d+)(.*)$")
    if till and tonumber(till) <= NOW then
      call("HDEL", K.feeds, owner)
      till = nil
    end
    feeds[owner] = till and { names = names } or false
  end
  return feeds[owner]
end

local function feed(owner, kind, id, job_type, data)
  local known = followers(owner)
  if not known then return end
  call("XADD", K.feed .. owner, "MAXLEN", "~", FEED_LENGTH, "*", "kind", kind, "job", id, "type", job_type, "data", data)
  if not known.told then
    known.told = true
    notify("feed " .. owner, known.names)
  end
end

-- job: owner, type.
local function emit_status(id, status, attempt, job)
  local data = '{"status":"' .. status .. '","attempt":' .. attempt .. "}"
  feed(job.owner, "status", id, job.type, data)
  return emit(id, "status", data)
end

-- Who answers: an idle answerer that still listens is woken; else one bell waits at most,
-- and whoever answers it calls for the next. Returns 1 if the caller must ring.
local function call_for_hands()
  if call("HEXISTS", K.stats, "paused") == 1 then return 0 end
  local listening = call("ZRANGEBYSCORE", K.listeners, NOW, "+inf", "LIMIT", 0, 1)
  if listening[1] then
    call("ZREM", K.listeners, listening[1])
    call("RPUSH", K.wake .. listening[1], "1")
    call("PEXPIRE", K.wake .. listening[1], 5000)
    return 0
  end
  local bell = call("HMGET", K.bell, "waiting", "rung_at")
  if bell[1] == "1" and NOW - (tonumber(bell[2]) or 0) < 1000 then return 0 end
  if bell[1] == "1" then
    -- A bell is unanswered for a second: lost, or every slot is busy. Ring again only in the first case.
    local slots = tonumber(call("HGET", K.stats, "slots") or "0")
    if slots > 0 and call("ZCOUNT", K.runners, NOW, "+inf") >= slots then return 0 end
    -- Nobody is there to hear it: bells for an empty house would only pile up.
    if slots == 0 and NOW - (tonumber(bell[2]) or 0) < 60000 then return 0 end
  end
  call("HSET", K.bell, "waiting", "1", "rung_at", int(NOW))
  return 1
end

local function add_ready(id, owner, priority, sequence)
  local line = line_key(priority, owner)
  call("ZADD", line, sequence, id)
  if call("ZCARD", line) == 1 then
    call("ZADD", K.rota .. priority, "NX", call("HINCRBY", K.stats, "turn", 1), owner)
  end
  call("HINCRBY", K.ready, priority, 1)
end

-- Take ids (all of one owner and priority) out of the line they wait in.
local function drop_ready(owner, priority, ids)
  local line = line_key(priority, owner)
  local n = call("ZREM", line, unpack(ids))
  if n > 0 and call("HINCRBY", K.ready, priority, -n) <= 0 then call("HDEL", K.ready, priority) end
  if call("EXISTS", line) == 0 then call("ZREM", K.rota .. priority, owner) end
  return n
end

-- Jobs of batches are not counted: a batch is accepted whole, and holds up none of its owner's other jobs.
local function count_waiting(owner, n)
  if n ~= 0 and call("HINCRBY", K.waiting, owner, n) <= 0 then call("HDEL", K.waiting, owner) end
end

-- What an owner may have of jobs that run, or that wait, where its key has a limit of its own; else nil.
local function cap_of(owner, of)
  local running, waiting = string.match(call("HGET", K.caps, owner) or "", "^(%d+) (%d+)$")
  local cap = tonumber(of == "running" and running or waiting or "0")
  return cap ~= 0 and cap or nil
end

-- A job runs no longer.
local function give_back(id, owner)
  if call("ZREM", K.lease, id) == 1 and call("HINCRBY", K.running, owner, -1) <= 0 then
    call("HDEL", K.running, owner)
  end
end

local function total_ready()
  local total, counts = 0, call("HVALS", K.ready)
  for _, n in ipairs(counts) do total = total + tonumber(n) end
  return total
end

-- How many would be claimed up to and with this job, if nothing else came: claims go by priority,
-- and round the owners within a priority. 1 is next.
local function position(id, owner, priority)
  local rank = call("ZRANK", line_key(priority, owner), id)
  if not rank then return false end
  local ahead, counts = rank, call("HGETALL", K.ready)
  local own = 0
  for i = 1, #counts, 2 do
    local p, n = tonumber(counts[i]), tonumber(counts[i + 1])
    if p > tonumber(priority) then ahead = ahead + n elseif p == tonumber(priority) then own = n end
  end
  if own > call("ZCARD", line_key(priority, owner)) then
    local before = true
    for _, other in ipairs(call("ZRANGE", K.rota .. priority, 0, -1)) do
      if other == owner then
        before = false
      else
        ahead = ahead + math.min(call("ZCARD", line_key(priority, other)), before and rank + 1 or rank)
      end
    end
  end
  return ahead + 1
end

-- Milliseconds until a job at this position has ended, from measured means; false when unknown.
local function eta(place, job_type)
  local s = call("HMGET", K.stats, "slots", "occupancy", "run:" .. job_type)
  local slots, occupancy, run = tonumber(s[1] or "0"), tonumber(s[2]), tonumber(s[3])
  if slots <= 0 or not occupancy then return false end
  return math.floor((place - 1) * occupancy / slots + (run or occupancy) + 0.5)
end

-- Milliseconds until so many of an owner's jobs have started, at the pace of late; false where there is none.
local function room_ms(priority, count)
  local s = call("HMGET", K.stats, "slots", "occupancy")
  local slots, occupancy = tonumber(s[1] or "0"), tonumber(s[2])
  if slots <= 0 or not occupancy then return false end
  return math.ceil(count * math.max(1, call("ZCARD", K.rota .. priority)) * occupancy / slots)
end

local function mean(old, new)
  old = tonumber(old)
  return string.format("%.4f", old and old * 0.8 + new * 0.2 or new)
end

-- Everything that is kept of a job goes.
local function forget(id, owner)
  call("DEL", K.job .. id, K.spec .. id, K.output .. id, K.events .. id, K.waits .. id, K.dependents .. id)
  call("ZREM", K.owned .. owner, id)
  call("ZREM", K.ended, id)
  call("ZREM", K.expiry, id)
end

local function turn(role, id, status, body)
  return role .. " " .. id .. " " .. int(NOW) .. " " .. status .. " " .. body
end

-- The parts of a turn: role, job, ms, status, body.
local function parts_of(entry) return string.match(entry, "^(%S+) (%S+) (%S+) (%S+) (.*)$") end

-- Something happened in a conversation: that puts off its end, where it has one ("keep": ms without anything).
local function touch(conversation)
  local key, turns = K.conversation .. conversation, K.turns .. conversation
  call("HSET", key, "updated", int(NOW))
  local keep = call("HGET", key, "keep")
  if keep then
    call("PEXPIRE", key, keep)
    call("PEXPIRE", turns, keep)
  end
end

-- Why a message may not join its conversation, if so; of a busy one also the job that answers there.
local function hindrance(says, owner, max_turns, max_bytes)
  local key, turns = K.conversation .. says.conversation, K.turns .. says.conversation
  local known = call("HMGET", key, "owner", "running", "bytes")
  if known[1] ~= owner then return "unknown" end
  if known[2] then return "busy", known[2] end
  if max_turns > 0 and call("LLEN", turns) + 2 > max_turns then return "full" end
  if max_bytes > 0 and tonumber(known[3] or "0") + #says.body > max_bytes then return "full" end
end

-- The message joins; if it is the last one said anew, in its place.
local function join(id, says)
  local key, turns = K.conversation .. says.conversation, K.turns .. says.conversation
  local entry, bytes = turn("user", id, "pending", says.body), #says.body
  local last = says.replaces ~= "" and call("LINDEX", turns, -1)
  local role, by, _, _, body = parts_of(last or "")
  if role == "user" and by == says.replaces then
    call("LSET", turns, -1, entry)
    bytes = bytes - #body
  else
    call("RPUSH", turns, entry)
  end
  call("HINCRBY", key, "bytes", bytes)
  local known = call("HMGET", key, "title", "system", "model")
  call("HSET", key, "running", id, "told", known[2] or "", "asked", known[3] or "")
  if not known[1] and says.title ~= "" then call("HSET", key, "title", says.title) end
  touch(says.conversation)
end

-- The job that answers in a conversation ends, and frees it: its message, which is the last, is marked with how that
-- went, and the reply, where there is one, joins the history. A conversation that is gone, or another job's, stays as it is.
local function end_turn(id, status, job)
  local key, turns = K.conversation .. job.conversation, K.turns .. job.conversation
  if call("HGET", key, "running") ~= id then return end
  local role, by, at, _, body = parts_of(call("LINDEX", turns, -1))
  local replied = (job.reply or "") ~= ""
  local mark = (status == "succeeded" or replied) and "answered" or status == "canceled" and "canceled" or "failed"
  call("LSET", turns, -1, role .. " " .. by .. " " .. at .. " " .. mark .. " " .. body)
  if replied then
    call("RPUSH", turns, turn("assistant", id, status == "succeeded" and "complete" or "partial", job.reply))
    call("HINCRBY", key, "bytes", #job.reply)
  end
  call("HDEL", key, "running", "told", "asked")
  touch(job.conversation)
end

-- What happened to a thing (of kind "job"; hook, owner, type, retention) goes to the outbox, where its own webhook (hook:
-- "statuses url") or an endpoint of its key's asks for that; the couriers are told when the outbox was empty, and look again
-- whenever they have emptied it.
local function tell(kind, id, status, thing, run)
  local statuses, url = string.match(thing.hook or "", "^(%S*) ?(.*)$")
  local own, event = string.find(statuses, status, 1, true), kind .. "." .. status
  if not own then
    local events = call("HGET", K.subscribed, thing.owner)
    if not events or not string.find(events, event, 1, true) then return end
  end
  call("XADD", K.outbox, "*", "event", event, "subject", id, "owner", thing.owner, "type", thing.type,
    "at", int(NOW), "run", run, "keep", thing.retention, "url", own and url or "")
  if call("XLEN", K.outbox) == 1 then call("PUBLISH", HOOK_NEWS, "") end
end

-- What /metrics shows (metering.py): gathered while a script runs, written once at its end. A histogram's field for each
-- of its buckets counts what fell into that one alone; "sum" is the sum of what was observed.
local meters = {}
local function meter(field, n) meters[field] = (meters[field] or 0) + n end

local function observe(name, label, value)
  local bounds, bucket = METER_BOUNDS[name], 1
  while bounds[bucket] and value > bounds[bucket] do bucket = bucket + 1 end
  meter(name .. "|" .. label .. "|" .. bucket, 1)
  meter(name .. "|" .. label .. "|sum", value)
end

local function write_meters()
  for field, n in pairs(meters) do call("HINCRBY", K.meters, field, int(n)) end
end

-- The one place in which a job ends. job: owner, type, attempt, retention, watch, hook, dependents, pipeline, group,
-- conversation (with reply). It must be out of its line or lease already. Writes status, event, usage, outbox, settlements and the
-- conversation's next turn at once.
local function end_job(id, status, job, fields, figures)
  call("HSET", K.job .. id, "status", status, "finished", int(NOW), unpack(fields))
  call("ZADD", K.ended, NOW + tonumber(job.retention), id)
  emit_status(id, status, job.attempt, job)
  feed(job.owner, "done", id, job.type, '{"status":"' .. status .. '"}')
  notify(id, job.watch)
  tell("job", id, status, job, job.attempt)
  if job.dependents then
    for _, dependent in ipairs(call("SMEMBERS", K.dependents .. id)) do
      call("SADD", K.settle, id .. " " .. status .. " " .. dependent)
    end
    call("DEL", K.dependents .. id)
  end
  if job.pipeline then call("SADD", K.settle, id .. " " .. status .. " " .. PIPELINES .. " " .. job.pipeline) end
  if job.dependents or job.pipeline then call("PUBLISH", SETTLE, string.match(KEYS[1], "{(.*)}")) end
  if job.group then call("HINCRBY", K.tally .. job.group, status, 1) end
  if job.conversation then end_turn(id, status, job) end
  meter("ended|" .. job.type .. "|" .. status, 1)
  local usage = figures[job.owner] or {}
  figures[job.owner] = usage
  local function add(name, n) usage[job.type .. "|" .. name] = (usage[job.type .. "|" .. name] or 0) + n end
  add("jobs", 1)
  add(status, 1)
  return add
end

-- The end of every script that may end jobs.
local function write_usage(figures)
  write_meters()
  for owner, usage in pairs(figures) do
    local key = K.usage .. owner .. ":" .. math.floor(NOW / 86400000)
    for field, n in pairs(usage) do call("HINCRBY", key, field, int(n)) end
    call("PEXPIRE", key, 400 * 86400000)
  end
end

local JOB_FIELDS = { "status", "owner", "type", "attempt", "retention", "watch", "hook", "dependents",
  "priority", "sequence", "max_attempts", "worker", "started", "created", "expires", "batch", "weight",
  "timeout", "claimed", "lapsed", "conversation", "pipeline", "group", "ready_at" }

local function load_job(id)
  local values = call("HMGET", K.job .. id, unpack(JOB_FIELDS))
  if not values[1] then return nil end
  local job = {}
  for i, name in ipairs(JOB_FIELDS) do job[name] = values[i] or nil end
  return job
end

-- A running job goes back into its line; its place is the one it had.
local function back_to_line(id, job, attempt)
  give_back(id, job.owner)
  call("HSET", K.job .. id, "status", "queued", "attempt", attempt, "ready_at", int(NOW))
  call("HDEL", K.job .. id, "worker", "progress")
  add_ready(id, job.owner, job.priority, job.sequence)
  if not job.group then count_waiting(job.owner, 1) end
  emit_status(id, "queued", attempt, job)
  notify(id, job.watch)
end

-- The claim of a running job is void: its process died, or was silent for longer than the lease.
-- A job that this ends is marked, so that a late commit of its last attempt is refused, not taken for a repeat.
local function lapse(id, figures)
  local job = load_job(id)
  if not job or (job.status ~= "running" and job.status ~= "canceling") then
    give_back(id, job and job.owner or "")
    return
  end
  meter("lapsed|" .. job.type, 1)
  if job.status == "canceling" then
    give_back(id, job.owner)
    end_job(id, "canceled", job, { "lapsed", "1" }, figures)
  elseif tonumber(job.attempt) >= tonumber(job.max_attempts) then
    give_back(id, job.owner)
    local detail = "The worker running this job died or fell silent in each of its " .. job.max_attempts
      .. " attempts. Look at the worker's log; a job that needs more memory than there is looks like this."
    end_job(id, "failed", job, { "error", '{"type":"urn:callboard:problem:worker_lost","title":"The worker was lost",'
      .. '"status":500,"code":"worker_lost","retryable":true,"detail":"' .. detail .. '"}', "lapsed", "1" }, figures)
  else
    emit(id, "log", '{"level":"warning","message":"the worker was lost in attempt ' .. job.attempt
      .. '; the job is ready again"}')
    back_to_line(id, job, job.attempt)
  end
end

-- A job that waits (queued, scheduled, blocked) leaves whatever it waits in.
local function leave(id, job)
  if job.status == "queued" then
    drop_ready(job.owner, job.priority, { id })
  else
    call("ZREM", job.status == "blocked" and K.blocked or K.due, id)
  end
  call("ZREM", K.expiry, id)
  call("DEL", K.waits .. id)
  if not job.group then count_waiting(job.owner, -1) end
end

-- What was scheduled, backing off or blocked becomes ready.
local function make_ready(id, job)
  call("ZREM", K.due, id)
  call("ZREM", K.blocked, id)
  call("HSET", K.job .. id, "status", "queued", "ready_at", int(NOW))
  add_ready(id, job.owner, job.priority, job.sequence)
  emit_status(id, "queued", job.attempt, job)
  notify(id, job.watch)
end

-- A waiting job ends, a running one is told to. Returns "missing" | "already-ended" | "ended" | "canceling".
local function cancel(id)
  local job, figures = load_job(id), {}
  if not job then return "missing" end
  if TERMINAL[job.status] then return "already-ended" end
  if job.status == "canceling" then return "canceling" end
  if job.status == "running" then
    call("HSET", K.job .. id, "status", "canceling")
    emit_status(id, "canceling", job.attempt, job)
    notify(id, job.watch)
    call("RPUSH", K.control .. job.worker, id)
    call("PEXPIRE", K.control .. job.worker, 60000)
    return "canceling"
  end
  leave(id, job)
  end_job(id, "canceled", job, {}, figures)
  write_usage(figures)
  return "ended"
end
