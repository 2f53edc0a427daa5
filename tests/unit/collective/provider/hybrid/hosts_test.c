/* SPDX-License-Identifier: Apache-2.0 */
/* Who stands where: hosts in the order of their first ranks, lanes as many as the smallest host has members. */
#include "collective/provider/hybrid/hybrid.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct ls_group group;
static struct ls_member members[LS_MAX_MEMBERS];

/* A letter a rank; '-': a member without a name of a host. */
static struct hybrid placed(const char *hosts, int rank)
{
    struct hybrid h = {.group = &group};

    group.members = members;
    group.rank = rank;
    for (group.world = 0; hosts[group.world] != '\0'; group.world++)
        (void)snprintf(members[group.world].host, sizeof members[0].host, "%.1s",
                       hosts[group.world] == '-' ? "" : hosts + group.world);
    lsi_hybrid_place(&h);
    return h;
}

/* Mixed ranks: each rank finds its host, its index there, and the way back. */
Test(hosts, mixed)
{
    struct hybrid h = placed("babcab", 4);

    cr_assert_eq(h.hosts, 3);
    cr_assert_eq(h.lanes, 1);
    cr_assert_eq(h.host, 1);
    cr_assert_eq(h.index, 1);
    cr_assert_eq(hybrid_size(&h, 0), 3);
    for (int r = 0; r < 6; r++)
        cr_assert_eq(hybrid_rank(&h, h.host_of[r], h.index_of[r]), r);
    cr_assert_eq(hybrid_rank(&h, 0, 2), 5);
    cr_assert(!hybrid_is_lane(&h));
}

/* Equal hosts: everybody is a lane. One host: its members are. */
Test(hosts, lanes)
{
    cr_assert_eq(placed("aabb", 3).lanes, 2);
    cr_assert_eq(placed("aaaabbb", 0).lanes, 3);
    cr_assert_eq(placed("aaa", 0).lanes, 3);
    cr_assert_eq(placed("abc", 0).lanes, 1);
}

/* Members without a name share nothing with each other. */
Test(hosts, unnamed)
{
    struct hybrid h = placed("--a-a", 0);

    cr_assert_eq(h.hosts, 4);
    cr_assert_eq(hybrid_size(&h, h.host_of[2]), 2);
    cr_assert_eq(hybrid_size(&h, h.host_of[3]), 1);
}

/* On every host each rank has one proxy and a place in its window that no other rank has. */
Test(hosts, proxies)
{
    for (int rank = 0; rank < 7; rank++) {
        struct hybrid h = placed("aaabbac", rank);
        bool taken[4][8] = {{false}};
        cr_assert_leq(h.most_held, 7);
        for (int r = 0; r < 7; r++) {
            int proxy = hybrid_proxy(&h, h.host, r);
            cr_assert(proxy >= 0 && proxy < hybrid_size(&h, h.host));
            cr_assert(h.place_of[r] < h.most_held && !taken[proxy][h.place_of[r]]);
            taken[proxy][h.place_of[r]] = true;
            if (h.host_of[r] == h.host)
                cr_assert_eq(proxy, h.index_of[r]);
        }
    }
}
