-- ARGV: runner busy_ms(of the whole batch) tally(JSON field -> n, what the runner counted itself; or ""), then per job:
--       id attempt outcome output error usage(JSON) tokens characters files delay_ms reply(JSON of a conversation's turn, or "")
-- outcome: succeeded | failed | canceled | retry | release. "retry" ends the job when no attempt is left;
-- "release" hands it back and gives the attempt back too.
-- Returns per job "committed", or "stale" when the claim was no longer this runner's: then nothing changed.
local STRIDE = 11
local runner, busy_ms = ARGV[1], tonumber(ARGV[2])
local jobs, reply, figures, sample, done = (#ARGV - 3) / STRIDE, {}, {}, {}, 0
local released, repeated = false, true

local function back_off(id, job, error, delay_ms)
  give_back(id, job.owner)
  meter("retried|" .. job.type, 1)
  call("HSET", K.job .. id, "status", "scheduled", "due", int(NOW + delay_ms), "error", error)
  call("HDEL", K.job .. id, "worker", "progress")
  call("ZADD", K.due, NOW + delay_ms, id)
  if not job.group then count_waiting(job.owner, 1) end
  emit(id, "log", '{"level":"warning","message":"attempt ' .. job.attempt .. ' failed and will be tried again"}')
  emit_status(id, "scheduled", job.attempt, job)
  notify(id, job.watch)
end

local function commit(id, job, at)
  local outcome, fields = ARGV[at + 2], { "usage", ARGV[at + 5] }
  if outcome == "retry" then outcome = "failed" end
  if job.status == "canceling" and outcome == "failed" then outcome = "canceled" end
  if outcome == "succeeded" then
    call("SET", K.output .. id, ARGV[at + 3])
    call("HDEL", K.job .. id, "error")
  elseif outcome == "canceled" and ARGV[at + 3] ~= "" then
    call("SET", K.output .. id, ARGV[at + 3]) -- what it had made by then
  elseif ARGV[at + 4] ~= "" then
    fields[3], fields[4] = "error", ARGV[at + 4]
  end
  if ARGV[at + 8] ~= "" then
    fields[#fields + 1] = "files"
    fields[#fields + 1] = ARGV[at + 8]
  end
  give_back(id, job.owner)
  if outcome == "succeeded" or outcome == "canceled" then job.reply = ARGV[at + 10] end
  local add = end_job(id, outcome, job, fields, figures)
  local run_ms = math.max(0, NOW - tonumber(job.claimed))
  add("run_ms", run_ms)
  observe("run", job.type, run_ms)
  if ARGV[at + 6] ~= "0" then add("tokens", tonumber(ARGV[at + 6])) end
  if ARGV[at + 7] ~= "0" then add("characters", tonumber(ARGV[at + 7])) end
  if outcome == "succeeded" then
    local s = sample[job.type] or { 0, 0 }
    sample[job.type] = { s[1] + run_ms, s[2] + 1 }
  end
  done = done + 1
end

for n = 0, jobs - 1 do
  local at = 4 + n * STRIDE
  local id, attempt, outcome = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local job = load_job(id)
  local active = job and (job.status == "running" or job.status == "canceling")
  local mine = job and job.attempt == attempt and job.worker == runner and not job.lapsed
  if not mine or not (active or TERMINAL[job.status]) then
    call("HINCRBY", K.stats, "stale", 1)
    reply[#reply + 1] = "stale"
  elseif not active then
    reply[#reply + 1] = "committed" -- the same runner and attempt: an answer that was lost on the way
  else
    repeated = false
    if outcome == "retry" and job.status == "running" and tonumber(attempt) < tonumber(job.max_attempts) then
      back_off(id, job, ARGV[at + 4], tonumber(ARGV[at + 9]))
    elseif outcome == "release" and job.status == "running" then
      back_to_line(id, job, int(tonumber(attempt) - 1))
      released = true
    elseif outcome == "release" then
      give_back(id, job.owner)
      end_job(id, "canceled", job, {}, figures)
    else
      commit(id, job, at)
    end
    reply[#reply + 1] = "committed"
  end
end

if ARGV[3] ~= "" and not repeated then
  for field, n in pairs(cjson.decode(ARGV[3])) do meter(field, n) end
end
write_usage(figures)
if done > 0 then
  call("HINCRBY", K.stats, "done", done)
  local old
  if busy_ms > 0 then -- 0: not measured
    old = call("HGET", K.stats, "occupancy")
    call("HSET", K.stats, "occupancy", mean(old, busy_ms / done))
  end
  for job_type, s in pairs(sample) do
    old = call("HGET", K.stats, "run:" .. job_type)
    call("HSET", K.stats, "run:" .. job_type, mean(old, s[1] / s[2]))
  end
end
return { released and call_for_hands() or 0, reply }
