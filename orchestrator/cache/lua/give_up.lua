-- Whoever computes a value ends without one. A: id, owner. -> 1, or 0 when somebody else does it by now
return done(A.id, A.owner) and 1 or 0
