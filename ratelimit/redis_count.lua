-- Counts what all gateways have in use: KEYS[1] is a hash of gateway -> "count expiry".
-- ARGV: a number that comes back, the time in us after which nobody waits for the answer, this gateway, its count, the most that may be in use by all of them (or -1: any), the ms until expiry, and what its count is where that were too many (or -1: what it was).
-- Answers the number and 1 if the count is within the most and was written, else 0.
local instead, granted = tonumber(ARGV[7] or -1), 1
local own, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if clock[1] * 1000000 + clock[2] > tonumber(ARGV[2]) then return redis.error_reply('LATE') end
local others = 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	local count, expiry = string.match(all[i + 1], '^(%d+) (%d+)$')
	if not count or tonumber(expiry) <= now then
		redis.call('HDEL', KEYS[1], all[i])
	elseif all[i] ~= ARGV[3] then
		others = others + tonumber(count)
	end
end
if most >= 0 and others + own > most then
	if instead < 0 then return {ARGV[1], 0} end
	own, granted = instead, 0
end
if own == 0 then
	redis.call('HDEL', KEYS[1], ARGV[3])
else
	redis.call('HSET', KEYS[1], ARGV[3], string.format('%d %.0f', own, now + ARGV[6]))
	redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return {ARGV[1], granted}
