/* The write lock of one section: leases, hand-over in the order of the queue, fencing tokens.
 *
 * Each agent reads a value and writes it back increased by one, under the lock. It may be stopped anywhere for longer
 * than its lease, and may die while it holds the lock. Each `atomic` is one Lua script; between two of them anything
 * may happen. No update may be lost, and nobody may wait for ever.
 *
 * The mistakes that have to be found: -DFENCE_LAST (a token is good unless a newer one has written), -DNO_FENCE,
 * -DNO_HANDOVER (a release wakes nobody), -DNO_SWEEP (the end of a lease wakes nobody), -DRELEASE_ANY (whoever
 * releases, the lock is free).
 */
#define AGENTS 3
#ifndef STOPS
#define STOPS 3                        /* how often a living holder is stopped past its lease */
#endif
#define NOBODY 255

byte holder = NOBODY;                  /* whose lease runs */
byte token, current, last;             /* last one granted; of the running lease, 0 when none; of the last write */
byte value, written;                   /* the value, and how many writes were accepted */
byte woken[AGENTS];                    /* wake key of a waiter: the token it was granted */
bool dead[AGENTS];
byte stops, died, done;
chan queue = [AGENTS] of { byte };

inline grant() {
	if
	:: holder == NOBODY && len(queue) > 0 ->
		queue ? holder;
		token++;
		current = token;
		woken[holder] = token
	:: else
	fi
}

inline free() {
	holder = NOBODY;
	current = 0
}

inline expire() {
	free();
#if !defined(NO_SWEEP)
	grant()
#endif
}

active [AGENTS] proctype Agent() {
	byte mine, seen;

again:
	atomic { queue ! _pid; grant() }
	atomic { woken[_pid] != 0 -> mine = woken[_pid]; woken[_pid] = 0 }
	if
	:: atomic { dead[_pid] = true; died++; goto over }
	:: seen = value
	fi;
	atomic {
		if
#if defined(NO_FENCE)
		:: true ->
#elif defined(FENCE_LAST)
		:: mine >= last ->
#else
		:: mine == current ->
#endif
			value = seen + 1;
			last = mine;
			written++;
			assert(value == written)       /* no update is lost */
#if !defined(NO_FENCE)
		:: else -> goto again          /* LeaseLost: the attempt fails, and the next one begins */
#endif
		fi
	}
	atomic {
		if
		:: mine == current ->
			free();
#if !defined(NO_HANDOVER)
			grant()
#endif
		:: else ->                     /* LeaseLost */
#if defined(RELEASE_ANY)
			assert(holder == NOBODY); free(); grant()
#else
			skip
#endif
		fi;
		done++
	}
over:
	skip
}

active proctype Clock() {
	do
	:: atomic { holder != NOBODY && stops < STOPS && !dead[holder] -> stops++; expire() }
	:: atomic { holder != NOBODY && dead[holder] -> expire() }
	:: died + done == AGENTS && holder == NOBODY -> break
	od;
	assert(value == done)
}
