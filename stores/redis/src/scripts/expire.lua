local ended, more = expire(tonumber(ARGV[1]), 500)
return { ended, more and 1 or 0 }
