package sharedcount

import (
	"sync"

	"github.com/redis/go-redis/v9"
)

// A key is a list of the times of its requests that still count, in milliseconds, oldest
// first; it goes with the last of them. A key's time does not go back, even if the
// clock of Redis does.
//
// KEYS[1] is the key, ARGV[1] the limit, ARGV[2] its period.
const begin = `
local key, limit, per = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local newest = redis.call('LINDEX', key, -1)
if newest and tonumber(newest) > now then
	now = tonumber(newest)
end

local oldest = redis.call('LINDEX', key, 0)
while oldest and now - tonumber(oldest) >= per do
	redis.call('LPOP', key)
	oldest = redis.call('LINDEX', key, 0)
end
local n = redis.call('LLEN', key)

local function count()
	redis.call('RPUSH', key, string.format('%.0f', now))
	redis.call('PEXPIRE', key, per)
	n = n + 1
end
`

// takeScript returns 0 if the request was counted, else the milliseconds until the oldest
// of those that fill the limit is over. A refused request is not counted.
//
//nolint:gochecknoglobals // made once, never written
var takeScript = sync.OnceValue(func() *redis.Script {
	return redis.NewScript(begin + `
if n >= limit then
	return per - (now - tonumber(redis.call('LINDEX', key, n - limit)))
end
count()
return 0`)
})

// overScript returns by how many the limit is exceeded. ARGV[3] is how many are kept.
//
//nolint:gochecknoglobals // made once, never written
var overScript = sync.OnceValue(func() *redis.Script {
	return redis.NewScript(begin + `
local most = tonumber(ARGV[3])
count()
if n > most then
	redis.call('LTRIM', key, -most, -1)
	n = most
end
return math.max(0, n - limit)`)
})
