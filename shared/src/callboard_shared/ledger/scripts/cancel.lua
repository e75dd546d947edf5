-- ARGV: id. Returns {"missing"} | {"already-ended" | "ended" | "canceling"}
local id, figures = ARGV[1], {}
local job = load_job(id)
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
