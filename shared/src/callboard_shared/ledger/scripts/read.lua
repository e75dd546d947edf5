-- ARGV: ids. Returns {online workers, paused, per job: false or {fields, spec, output, position, eta, waits}}
local reply = { call("ZCOUNT", K.workers, NOW, "+inf"), call("HEXISTS", K.stats, "paused") }
for _, id in ipairs(ARGV) do
  local fields = call("HGETALL", K.job .. id)
  if #fields == 0 then
    reply[#reply + 1] = false
  else
    local job = {}
    for i = 1, #fields, 2 do job[fields[i]] = fields[i + 1] end
    local place, when, waits = false, false, {}
    if job.status == "queued" then
      place = position(id, job.owner, job.priority)
      if place then when = eta(place, job.type) end
    elseif job.status == "blocked" then
      waits = call("SMEMBERS", K.waits .. id)
    end
    reply[#reply + 1] = { fields, call("GET", K.spec .. id), call("GET", K.output .. id), place, when, waits }
  end
end
return reply
