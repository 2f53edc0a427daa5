/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which way an operation goes: rows by transport, operation, members and bytes, the first that fits. A user's rows, one
 * string, come before the built-in ones; members that choose differently are told so, since the choice is signed.
 */
#ifndef LOCKSTEP_COLLECTIVE_CHOICE_H
#define LOCKSTEP_COLLECTIVE_CHOICE_H

#include "collective/group.h"

/* ONE_SHOT: values ride with the announcement (4 KiB a rank at most, whatever the row says). GATHER:
 * everybody gets all partials and adds them. CANONICAL: the owner of a part adds it and gives it to all. DIRECT: from
 * source to result (shm: in registered memory, else STAGED). STAGED: through slots. BINOMIAL: along a tree. HALVING:
 * halves, along the canonical tree. Where the group allows any order: NATIVE, the carrier's own sum; RING, around;
 * BF16, canonical with f32 as bf16 on the way. HIERARCHY: inside the hosts and between them (hybrid). */
#define LSI_WAY_LIST(X)           \
    X(LSI_ONE_SHOT, "one-shot")   \
    X(LSI_GATHER, "gather")       \
    X(LSI_CANONICAL, "canonical") \
    X(LSI_DIRECT, "direct")       \
    X(LSI_STAGED, "staged")       \
    X(LSI_BINOMIAL, "binomial")   \
    X(LSI_NATIVE, "native")       \
    X(LSI_HIERARCHY, "hierarchy") \
    X(LSI_HALVING, "halving")     \
    X(LSI_RING, "ring")           \
    X(LSI_BF16, "bf16")
#define LSI_LAST_WAY LSI_BF16
enum lsi_way {
#define LSI_WAY_ENUM(code, name) code,
    LSI_WAY_LIST(LSI_WAY_ENUM)
#undef LSI_WAY_ENUM
};

#define LSI_ANY_KIND (-1)
#define LSI_MAX_CHOICES 32

struct lsi_choice {
    char transport[12]; /* "any" */
    int kind;           /* enum ls_collective_kind (ALL_REDUCE: also the canonical one), or LSI_ANY_KIND */
    int world;          /* at most so many members */
    int64_t bytes;      /* of the result, at most */
    enum lsi_way way;
};

struct lsi_choices {
    int count;
    int given; /* of these, a user's: the first ones */
    struct lsi_choice row[LSI_MAX_CHOICES];
};

/* "tcp/all-reduce/2/64K=gather,shm/any/any/any=staged" in front of the built-in rows; text may be NULL. A row whose way
 * does not fit an operation is passed over. LS_EINVAL says which part is wrong. */
enum ls_status lsi_choices_make(const char *text, struct lsi_choices *choices, struct ls_error *err);
/* The row as it is written; returns text. */
const char *lsi_choice_text(const struct lsi_choice *choice, char text[80]);
const char *lsi_way_name(int way);

struct ls_request;
/* Sets request->way. */
void lsi_choose(struct ls_request *request);
/* Whether the operation, its tree and the group's options allow a way that the provider knows. */
bool lsi_way_fits(const struct ls_request *request, enum lsi_way way);

#endif
