local MOST_DUE = 100

local ended, more = expire(tonumber(ARGV[1]), MOST_DUE)
return { ended, more and 1 or 0 }
