/* Attempts of one step: leases, fencing tokens, answers that get lost, and the sweep that gives the step to another one.
 *
 * A worker may be stopped anywhere for longer than its lease, and may die anywhere; messages may come twice. Each
 * `atomic` is one Lua script; between two of them anything may happen. The step's effect is there once, or the step is
 * parked after its attempts; who was told that his result counts is never told the opposite, and nobody waits for ever.
 *
 * The mistakes that have to be found: -DNO_TOKEN (any attempt may end the step while one runs), -DFENCE_LAST (a token is
 * good unless a newer one has written), -DNO_NONCE (a repeated call is taken for another one), -DCLAIM_ANY (a message is
 * a claim, whatever the step does), -DNO_BOUND (a step that kills its workers is tried for ever), -DNO_SWEEP,
 * -DNO_MESSAGE_SWEEP (what was never published stays so).
 */
#define ATTEMPTS 3
#define NOBODY 255
#define KILLS 3                        /* how often a process dies */
#define STALLS 2                       /* how often a living one is stopped past its lease */
#ifndef TWICE
#define TWICE 1                        /* how often a message is delivered twice */
#endif
#define LOST 1                         /* how often an answer is lost, and the call repeated */
#define OVER (state == DONE || state == PARKED)

mtype = { QUEUED, RUNNING, RETRYING, DONE, PARKED };
mtype state = QUEUED;
byte token, ending;                    /* of the current attempt; of the one that ended the step */
byte newest;                           /* the newest token that has written */
byte mail, kills, stalls, twice, lost, effects;
bool leased, dead;                     /* of the current attempt: its lease runs; its process is gone */

active [2] proctype Worker() {
	byte mine;

	do
	:: atomic { mail > 0 ->
			if
			:: mail--
			:: twice < TWICE -> twice++        /* it will come again */
			fi;
			if
#if defined(CLAIM_ANY)
			:: !OVER ->
#else
			:: state == QUEUED ->
#endif
				assert(!leased);
				token++;
				assert(token <= ATTEMPTS);
				mine = token;
				state = RUNNING;
				leased = true;
				dead = false
			:: else -> goto next
			fi
		};
		if
		:: atomic { kills < KILLS ->
				kills++;
				if
				:: token == mine && state == RUNNING -> dead = true
				:: else
				fi;
				goto next }
		:: skip
		fi;
again:		atomic {
			if
#if !defined(NO_NONCE)
			:: ending == mine -> goto told         /* the answer to the first call was lost on its way */
			:: ending != mine &&
#else
			::
#endif
#if defined(NO_TOKEN)
				state == RUNNING ->
#elif defined(FENCE_LAST)
				mine >= newest ->
#else
				state == RUNNING && token == mine ->
#endif
				assert(token == mine);
				effects++;
				assert(effects == 1);
				newest = mine;
				ending = mine;
				state = DONE;
				leased = false
			:: else -> assert(ending != mine); goto next    /* refused: it comes late */
			fi
		};
		if
		:: atomic { lost < LOST -> lost++; goto again }
		:: skip
		fi;
told:		assert(effects == 1);
next:		mine = 0
	:: OVER -> break
	od
}

active proctype Sweep() {
	do
#if !defined(NO_SWEEP)
	:: atomic { state == RUNNING && (dead || stalls < STALLS) ->
			if
			:: dead -> dead = false
			:: !dead -> stalls++
			fi;
			leased = false;
#if defined(NO_BOUND)
			state = RETRYING
#else
			if
			:: token >= ATTEMPTS -> state = PARKED
			:: else -> state = RETRYING
			fi
#endif
		}
#endif
	:: atomic { state == RETRYING -> state = QUEUED }    /* and dies, perhaps, before it publishes */
#if !defined(NO_MESSAGE_SWEEP)
	:: atomic { state == QUEUED && mail == 0 -> mail++ }
#endif
	:: OVER -> break
	od;
	assert(effects == (state == DONE))
}
