-- What the scripts share. KEYS[1] is the queue's base key; K holds its keys by name (see keys.py).
-- All times are the ledger's own, in milliseconds.
local call = redis.call
local clock = call("TIME")
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local TERMINAL = { succeeded = true, failed = true, canceled = true, expired = true }

local function int(value) return string.format("%.0f", value) end

local function line_key(priority, owner) return K.line .. priority .. ":" .. owner end

-- Tell the gateways that watch this job (field "watch": names, each followed by a blank).
local function notify(id, watch)
  if watch then
    for name in string.gmatch(watch, "%S+") do call("PUBLISH", NEWS .. name, id) end
  end
end

local function emit(id, kind, data)
  return call("XADD", K.events .. id, "MAXLEN", "~", "20000", "*", "kind", kind, "data", data)
end

local function emit_status(id, status, attempt)
  return emit(id, "status", '{"status":"' .. status .. '","attempt":' .. attempt .. "}")
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

local function count_waiting(owner, n)
  if n ~= 0 and call("HINCRBY", K.waiting, owner, n) <= 0 then call("HDEL", K.waiting, owner) end
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

-- The one place in which a job ends. job: owner, type, attempt, retention, watch, hook, dependents, conversation
-- (with reply). It must be out of its line or lease already. Writes status, event, usage, outbox, settlements and the
-- conversation's next turn at once.
local function end_job(id, status, job, fields, figures)
  call("HSET", K.job .. id, "status", status, "finished", int(NOW), unpack(fields))
  call("ZADD", K.ended, NOW + tonumber(job.retention), id)
  emit_status(id, status, job.attempt)
  notify(id, job.watch)
  if job.hook and string.find(job.hook, status, 1, true) then
    call("XADD", K.outbox, "*", "event", "job." .. status, "job", id)
  end
  if job.dependents then
    for _, dependent in ipairs(call("SMEMBERS", K.dependents .. id)) do
      call("SADD", K.settle, id .. " " .. status .. " " .. dependent)
    end
    call("DEL", K.dependents .. id)
  end
  if job.conversation then end_turn(id, status, job) end
  local usage = figures[job.owner] or {}
  figures[job.owner] = usage
  local function add(name, n) usage[job.type .. "|" .. name] = (usage[job.type .. "|" .. name] or 0) + n end
  add("jobs", 1)
  add(status, 1)
  return add
end

local function write_usage(figures)
  for owner, usage in pairs(figures) do
    local key = K.usage .. owner .. ":" .. math.floor(NOW / 86400000)
    for field, n in pairs(usage) do call("HINCRBY", key, field, int(n)) end
    call("PEXPIRE", key, 400 * 86400000)
  end
end

local JOB_FIELDS = { "status", "owner", "type", "attempt", "retention", "watch", "hook", "dependents",
  "priority", "sequence", "max_attempts", "worker", "started", "created", "expires", "batch", "weight",
  "timeout", "claimed", "lapsed", "conversation" }

local function load_job(id)
  local values = call("HMGET", K.job .. id, unpack(JOB_FIELDS))
  if not values[1] then return nil end
  local job = {}
  for i, name in ipairs(JOB_FIELDS) do job[name] = values[i] or nil end
  return job
end

-- A running job goes back into its line; its place is the one it had.
local function back_to_line(id, job, attempt)
  call("ZREM", K.lease, id)
  call("HSET", K.job .. id, "status", "queued", "attempt", attempt)
  call("HDEL", K.job .. id, "worker", "progress")
  add_ready(id, job.owner, job.priority, job.sequence)
  count_waiting(job.owner, 1)
  emit_status(id, "queued", attempt)
  notify(id, job.watch)
end

-- The claim of a running job is void: its process died, or was silent for longer than the lease.
-- A job that this ends is marked, so that a late commit of its last attempt is refused, not taken for a repeat.
local function lapse(id, figures)
  local job = load_job(id)
  if not job or (job.status ~= "running" and job.status ~= "canceling") then
    call("ZREM", K.lease, id)
    return
  end
  if job.status == "canceling" then
    call("ZREM", K.lease, id)
    end_job(id, "canceled", job, { "lapsed", "1" }, figures)
  elseif tonumber(job.attempt) >= tonumber(job.max_attempts) then
    call("ZREM", K.lease, id)
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
  count_waiting(job.owner, -1)
end

-- What was scheduled, backing off or blocked becomes ready.
local function make_ready(id, job)
  call("ZREM", K.due, id)
  call("ZREM", K.blocked, id)
  call("HSET", K.job .. id, "status", "queued")
  add_ready(id, job.owner, job.priority, job.sequence)
  emit_status(id, "queued", job.attempt)
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
    emit_status(id, "canceling", job.attempt)
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
