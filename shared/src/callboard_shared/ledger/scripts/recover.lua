-- Deliveries to be made (again), each from the first step of its schedule. ARGV: owner all(0/1) ids…
-- all: those that were delivered or are under way, too (somebody asked for this one).
-- Returns per id "again", "superseded", "disabled", "deleted", "ignored" (nothing to recover) or "missing".
local reply = {}
for n = 3, #ARGV do
  local id, outcome = ARGV[n], "missing"
  local delivery = load(id)
  if delivery and delivery.owner == ARGV[1] then
    local endpoint = delivery.endpoint
    if endpoint ~= "" and call("EXISTS", K.endpoint .. endpoint) == 0 then
      outcome = "deleted"
    elseif endpoint ~= "" and call("HEXISTS", K.endpoint .. endpoint, "disabled_at") == 1 then
      outcome = "disabled"
    elseif ARGV[2] == "0" and call("HEXISTS", K.delivery .. id, "superseded") == 1 then
      outcome = "superseded"
    elseif delivery.state == "waiting" or delivery.state == "over" and (ARGV[2] == "1" or delivery.status ~= "delivered") then
      outcome = "again"
      call("ZREM", K.kept, id)
      call("HDEL", K.delivery .. id, "superseded")
      call("HSET", K.delivery .. id, "step", "0", "status", "pending")
      wait_in_lane(id, delivery.lane, NOW)
      show_lane(delivery.lane)
    elseif ARGV[2] == "1" then
      outcome = "again" -- it flies, or goes when the one before it has landed
    else
      outcome = "ignored"
    end
  end
  reply[#reply + 1] = outcome
end
if #reply > 0 then call_couriers() end
return reply
