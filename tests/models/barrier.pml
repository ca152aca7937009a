/* The barrier of a group: members on workers that may die anywhere, a deadline with one extension, one second turn in
 * which members run one after another, and a sweep that carries on what the dead left half done.
 *
 * Each `atomic` is one Lua script, a message, or a look at the store; between two of them anything may happen. Whatever
 * dies, the step behind the barrier runs, and it runs once; nothing is merged after the decision, and no attempt ends a
 * step that has been given to another one.
 *
 * The mistakes that have to be found: -DNO_JOIN_SWEEP, -DNO_RELEASE_SWEEP, -DNO_LEASE_SWEEP, -DNO_MESSAGE_SWEEP (nobody
 * carries on what died after the last member's end, after the decision, in an attempt, before a publication),
 * -DNO_LATE_GUARD (a result counts although the barrier has moved on), -DNO_TOKEN (any attempt may end its step),
 * -DCOUNTING (how many have arrived is recorded, not who), -DMANY_FALLBACKS, -DSIDE_BY_SIDE (the second turn does not
 * wait), -DMANY_EXTENSIONS, -DDECIDE_TWICE (whoever judges releases).
 */
#define M 2
#define CONSUMER M
#define NOBODY 255
#ifndef KILLS
#define KILLS 1                        /* how often a process dies */
#endif
#define FAILS 1                        /* how often an attempt fails */
#define STALLS 1                       /* how often a living process is stopped past its lease */
#define ENDED(i) (state[i] == GOOD || state[i] == BAD)
#define ALL_ENDED (ENDED(0) && ENDED(1))

mtype = { WAITING, QUEUED, RUNNING, GOOD, BAD };
mtype state[M] = QUEUED;
byte token[M];
bool gone[M];                          /* the process of the running attempt is dead */
byte mail[M + 1];                      /* messages on their way, in any order */
bool timed, partial;                   /* what the group is: it has a deadline; defaults may stand in */
bool decided, fell;
byte extensions, fallbacks, arrivals, releases;
byte kills, fails, stalls, effects;

/* In a group that fell back: who begins, and who comes when the first one has ended. */
inline first_turn(n) {
	if
	:: state[0] == WAITING -> n = 0
	:: else -> n = 1
	fi;
	state[n] = QUEUED
}

inline second_turn(n) {
	n = NOBODY;
	if
	:: fell && state[1] == WAITING && ENDED(0) -> n = 1; state[1] = QUEUED
	:: else
	fi
}

inline decide(overdue) {
	assert(overdue || ALL_ENDED);
	decided = true;
	releases++;
	assert(releases == 1);
	n = CONSUMER
}

inline fall_back() {
	fell = true;
	fallbacks++;
	assert(fallbacks == 1);
	if
	:: state[0] != GOOD -> state[0] = WAITING
	:: else
	fi;
	if
	:: state[1] != GOOD -> state[1] = WAITING
	:: else
	fi;
#if defined(SIDE_BY_SIDE)
	if
	:: state[0] == WAITING -> state[0] = QUEUED
	:: else
	fi;
	if
	:: state[1] == WAITING -> state[1] = QUEUED
	:: else
	fi
#else
	first_turn(n)
#endif
}

inline all_have_arrived() {
#if defined(COUNTING)
	joined = arrivals >= M
#else
	joined = ALL_ENDED
#endif
}

inline conclude(overdue) {
	if
	:: (state[0] == GOOD && state[1] == GOOD) || (partial && (state[0] == GOOD || state[1] == GOOD)) -> decide(overdue)
#if defined(MANY_FALLBACKS)
	:: else -> fall_back()
#else
	:: else ->
		if
		:: fell -> decide(overdue)
		:: else -> fall_back()
		fi
#endif
	fi
}

#if defined(COUNTING)
#define JOINED (arrivals >= M)
#else
#define JOINED ALL_ENDED
#endif
#if defined(DECIDE_TWICE)
#define OPEN true
#else
#define OPEN (!decided)
#endif
#if defined(MANY_EXTENSIONS)
#define EXTENSIONS 3
#else
#define EXTENSIONS 1
#endif

/* The barrier's decision, and how it takes effect: one script. `n` is whom the caller publishes then. */
inline judge() {
	atomic {
		n = NOBODY;
		if
		:: OPEN && JOINED -> conclude(false)
		:: else
		fi
	}
}

inline end_unfinished() {
	if
	:: decided && !ENDED(0) -> state[0] = BAD
	:: else
	fi;
	if
	:: decided && !ENDED(1) -> state[1] = BAD
	:: else
	fi
}

inline judge_overdue() {
	atomic {
		n = NOBODY;
		if
		:: OPEN && !ALL_ENDED && extensions < EXTENSIONS -> extensions++; assert(extensions <= 1)
		:: OPEN && (ALL_ENDED || extensions >= EXTENSIONS) -> conclude(true); end_unfinished()
		:: !OPEN
		fi
	}
}

active [2] proctype Worker() {
	byte who, mine, n;
	mtype outcome;
	bool joined;

	do
	:: atomic { mail[CONSUMER] > 0 ->
			mail[CONSUMER]--;
			if
			:: effects == 0 -> effects++     /* its claim; a second message is refused */
			:: else
			fi
		}
	:: atomic {
			if
			:: mail[0] > 0 -> who = 0
			:: mail[1] > 0 -> who = 1
			fi;
			mail[who]--;
			if
			:: state[who] == QUEUED ->
				token[who]++;
				mine = token[who];
				state[who] = RUNNING;
				gone[who] = false;
				assert(!fell || !(state[0] == RUNNING && state[1] == RUNNING))
			:: else -> goto next
			fi
		};
		if
		:: outcome = GOOD
		:: atomic { fails < FAILS -> fails++; outcome = BAD }
		:: atomic { kills < KILLS -> kills++; gone[who] = gone[who] || token[who] == mine; goto next }
		fi;
		atomic {
			if
#if defined(NO_LATE_GUARD)
			:: token[who] == mine ->
#elif defined(NO_TOKEN)
			:: state[who] == RUNNING ->
#else
			:: state[who] == RUNNING && token[who] == mine ->
#endif
				assert(!decided);
				assert(token[who] == mine);
				state[who] = outcome;
				arrivals++;
				second_turn(n);
				joined = JOINED
			:: else -> goto next
			fi
		};
		if
		:: atomic { kills < KILLS && (n != NOBODY || joined) -> kills++; goto next }
		:: n != NOBODY -> mail[n]++
		:: n == NOBODY
		fi;
		if
		:: joined -> judge()
		:: !joined -> goto next
		fi;
		if
		:: atomic { kills < KILLS && n != NOBODY -> kills++ }
		:: n != NOBODY -> mail[n]++
		:: n == NOBODY
		fi;
next:		atomic { who = 0; mine = 0; n = 0; joined = false; outcome = GOOD }
	:: effects > 0 && mail[0] + mail[1] + mail[CONSUMER] == 0 -> break
	od
}

/* What every worker and beat do from time to time: carry on what has stopped, and look at the clock. */
active proctype Sweep() {
	byte n;

	if
	:: timed = true
	:: skip
	fi;
	if
	:: partial = true
	:: skip
	fi;
	do
#if !defined(NO_LEASE_SWEEP)
	:: atomic { state[0] == RUNNING && gone[0] -> state[0] = QUEUED; gone[0] = false }
	:: atomic { state[1] == RUNNING && gone[1] -> state[1] = QUEUED; gone[1] = false }
#endif
	:: atomic { state[0] == RUNNING && !gone[0] && stalls < STALLS -> stalls++; state[0] = QUEUED }
	:: atomic { state[1] == RUNNING && !gone[1] && stalls < STALLS -> stalls++; state[1] = QUEUED }
#if !defined(NO_MESSAGE_SWEEP)
	:: atomic { state[0] == QUEUED && mail[0] == 0 -> mail[0]++ }
	:: atomic { state[1] == QUEUED && mail[1] == 0 -> mail[1]++ }
#endif
#if !defined(NO_JOIN_SWEEP)
	:: !decided && ALL_ENDED -> judge(); n = 0
#endif
	:: timed && !decided && (token[0] > 0 || token[1] > 0) ->
		judge_overdue(); n = 0
#if !defined(NO_RELEASE_SWEEP)
	:: atomic { decided && effects == 0 && mail[CONSUMER] == 0 -> mail[CONSUMER]++ }
#endif
	:: effects > 0 -> break
	od
}
