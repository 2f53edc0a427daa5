/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who stands on which host, and how the members of each host meet: the first one of a host tells all members over the
 * mesh where it listens, each host forms its inner group there, and all wait until every host has done so.
 */
#include "collective/provider/hybrid/hybrid.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 108 /* of a Unix address */
/* The inner group waits as long as the whole does, which names whom it waits for. */
#define NEVER_MS (INT64_C(1) << 40)

/* Members without a name of a host stand alone. */
static int find_host(const struct hybrid *h, int rank)
{
    const struct ls_member *members = h->group->members;

    for (int r = 0; r < rank && members[rank].host[0] != '\0'; r++)
        if (strcmp(members[r].host, members[rank].host) == 0)
            return h->host_of[r];
    return h->hosts;
}

/* Which place in its proxy's window a rank's piece has, on this host; how many any member of any host holds. */
static void place_pieces(struct hybrid *h)
{
    for (int host = 0; host < h->hosts; host++) {
        int held[LS_MAX_MEMBERS] = {0};
        for (int r = 0; r < h->group->world; r++) {
            int place = held[hybrid_proxy(h, host, r)]++;
            if (host == h->host)
                h->place_of[r] = (int16_t)place;
            h->most_held = place + 1 > h->most_held ? place + 1 : h->most_held;
        }
    }
}

void lsi_hybrid_place(struct hybrid *h)
{
    int world = h->group->world;
    int at = 0;

    for (int r = 0; r < world; r++) {
        h->host_of[r] = (int16_t)find_host(h, r);
        h->hosts = h->host_of[r] >= h->hosts ? h->host_of[r] + 1 : h->hosts;
    }
    h->lanes = world;
    for (int host = 0; host < h->hosts; host++) {
        h->first_of[host] = (int16_t)at;
        for (int r = 0; r < world; r++) {
            if (h->host_of[r] != host)
                continue;
            h->index_of[r] = (int16_t)(at - h->first_of[host]);
            h->member[at++] = (int16_t)r;
        }
        h->lanes = at - h->first_of[host] < h->lanes ? at - h->first_of[host] : h->lanes;
    }
    h->first_of[h->hosts] = (int16_t)at;
    h->host = h->host_of[h->group->rank];
    h->index = h->index_of[h->group->rank];
    place_pieces(h);
}

/* Runs an operation of the whole group while it is being formed. */
static enum ls_status run_forming(struct hybrid *h, const struct ls_collective *op,
                                  const struct ls_group_options *options, uint64_t deadline_ns, struct ls_error *err)
{
    struct ls_request *request;
    enum ls_status status = ls_group_start(h->group, op, &request, err);
    int round = 0;

    if (status != LS_OK)
        return status;
    while ((status = ls_request_test(request, NULL)) == LS_EAGAIN) {
        if (lsi_form_over(h->group, options, deadline_ns))
            ls_group_abort(h->group, "its hosts did not come together in time");
        (void)h->group->ops->idle(h->group->state, round++);
    }
    return status == LS_OK ? LS_OK : ls_request_wait(request, err);
}

/* The directory that the options name, where this host has it; false: another one is needed. */
static bool given_path(const struct hybrid *h, const char *rendezvous, char path[PATH_BYTES])
{
    char directory[PATH_BYTES];
    struct stat info;
    char *slash;

    if (rendezvous == NULL || !ls_str_into(directory, sizeof directory, rendezvous))
        return false;
    slash = strrchr(directory, '/');
    if (slash == NULL || slash == directory)
        return false;
    *slash = '\0';
    if (stat(directory, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0)
        return false;
    return snprintf(path, PATH_BYTES, "%s-host-%d", rendezvous, h->host) < PATH_BYTES;
}

/* A directory of our own under parent, with mode 0700. */
static bool own_path(const char *parent, char directory[PATH_BYTES], char path[PATH_BYTES])
{
    if (parent == NULL || parent[0] != '/' ||
        snprintf(directory, PATH_BYTES, "%s/lockstep-XXXXXX", parent) >= PATH_BYTES - (int)sizeof "/group")
        return false;
    if (mkdtemp(directory) == NULL) {
        directory[0] = '\0';
        return false;
    }
    (void)snprintf(path, PATH_BYTES, "%.*s/group", PATH_BYTES - 8, directory);
    return true;
}

static enum ls_status choose_path(const struct hybrid *h, const char *rendezvous, char directory[PATH_BYTES],
                                  char path[PATH_BYTES], struct ls_error *err)
{
    directory[0] = '\0';
    if (given_path(h, rendezvous, path) || own_path(getenv("XDG_RUNTIME_DIR"), directory, path) ||
        own_path("/tmp", directory, path))
        return LS_OK;
    directory[0] = '\0';
    return ls_error_set(err, LS_EIO, "rank %d cannot make a directory under /tmp for the socket of its host %s",
                        h->group->rank, h->group->members[h->group->rank].host);
}

static enum ls_status form_inner(struct hybrid *h, const struct ls_group_options *options, const char *path,
                                 uint64_t deadline_ns, struct ls_error *err)
{
    struct ls_group_options inner = *options;
    struct ls_member members[LS_MAX_MEMBERS];
    int from[LS_MAX_MEMBERS];
    struct lsi_origin origin = {
        .group = h->group, .from = from, .inside = true, .died = lsi_hybrid_inner_died, .died_state = h};
    struct ls_error why = LS_ERROR_INIT;
    uint64_t now = ls_clock_now_ns();
    void *windows;
    enum ls_status status;

    inner.members = members;
    inner.world = hybrid_size(h, h->host);
    inner.rank = h->index;
    inner.rendezvous = path;
    inner.listener = -1;
    inner.network = NULL;
    inner.collectives = NULL;
    inner.form_deadline_ms = deadline_ns > now + 1000000 ? (int64_t)((deadline_ns - now) / 1000000) : 1;
    inner.wait_deadline_ms = inner.form_deadline_ms;
    for (int i = 0; i < inner.world; i++) {
        from[i] = hybrid_rank(h, h->host, i);
        members[i] = h->group->members[from[i]];
    }
    status = lsi_group_create(&lsi_shm_provider, &inner, &origin, &h->inner, &why);
    if (status != LS_OK)
        return ls_error_set(
            err, status,
            "the members on host %s did not meet in its memory: %s; hosts that cannot share memory need "
            "different names",
            members[inner.rank].host, why.message);
    status = ls_group_register(h->inner, (size_t)2 * HYBRID_WINDOW_BYTES, &windows, err);
    if (status != LS_OK)
        return status;
    h->windows = windows;
    h->inner->wait_deadline_ms = NEVER_MS;
    return LS_OK;
}

enum ls_status lsi_hybrid_meet(struct hybrid *h, const struct ls_group_options *options, struct ls_error *err)
{
    uint64_t deadline_ns = ls_clock_now_ns() + (uint64_t)options->form_deadline_ms * 1000000u;
    char own[PATH_BYTES] = "", directory[PATH_BYTES] = "", paths[LS_MAX_MEMBERS][PATH_BYTES];
    /* Over the mesh, whatever the choices say: there is no inner group yet. */
    struct ls_collective gather = {
        .kind = LS_ALL_GATHER, .dtype = LS_U8, .src = own, .dst = paths, .counts = h->counts, .way = "direct"};
    struct ls_collective barrier = {.kind = LS_BARRIER};
    enum ls_status status = LS_OK;

    /* Paths arrive in the order of the ranks that tell one: the first of each host, which is the order of the hosts. */
    for (int r = 0; r < h->group->world; r++)
        h->counts[r] = h->index_of[r] == 0 ? PATH_BYTES : 0;
    if (h->index == 0)
        status = choose_path(h, options->rendezvous, directory, own, err);
    if (status == LS_OK)
        status = run_forming(h, &gather, options, deadline_ns, err);
    if (status == LS_OK) {
        paths[h->host][PATH_BYTES - 1] = '\0';
        status = form_inner(h, options, paths[h->host], deadline_ns, err);
    }
    if (status == LS_OK)
        status = run_forming(h, &barrier, options, deadline_ns, err);
    if (directory[0] != '\0')
        (void)rmdir(directory);
    return status;
}
