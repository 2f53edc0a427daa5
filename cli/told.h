/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ctrl-C and SIGTERM of the commands that end in order. The first counts from the start of the command, whatever it is
 * busy with. Launchers often signal a process and its group, so that one wish comes as two signals: a second one
 * counts only LS_TOLD_AGAIN_MS after the first.
 */
#ifndef LOCKSTEP_CLI_TOLD_H
#define LOCKSTEP_CLI_TOLD_H

#include <signal.h>
#include <stdbool.h>

#define LS_TOLD_AGAIN_MS 500

/* Called in a signal handler. again: it is a second signal, or a later one. */
typedef void ls_told_fn(int number, bool again);

/* Catches both signals; until ls_told_attach the first is noted and the second ends the process. */
void ls_told_begin(void);
/* Signals go to fn from now on, also one that came before. NULL: they are noted only. */
void ls_told_attach(ls_told_fn *fn);
/* Whether one came. */
bool ls_told(void);
/* The two signals as a set: a launcher starts its workers with them held back, and they let them in when their handlers
 * stand. */
void ls_told_signals(sigset_t *set);
/* Lets in what the launcher held back. */
void ls_told_let_in(void);

#endif
