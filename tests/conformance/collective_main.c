/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conformance_collective PROVIDER threads|processes|launched WORLD [SEED [ROUNDS]]: forms a group and runs the suite in
 * every member. "launched": mpirun has started the processes.
 */
#include "tests/conformance/collective_suite.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

struct team {
    const char *provider;
    int world;
    struct suite_options suite;
    struct ls_member members[LS_MAX_MEMBERS];
    int listeners[LS_MAX_MEMBERS];
    char directory[64];
    char rendezvous[96];
};

struct job {
    struct team *team;
    int rank;
    int failures;
};

static int run_member(struct team *team, int rank)
{
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_group *group;
    struct ls_error err = LS_ERROR_INIT;
    int failures;

    options.members = team->members;
    options.world = team->world;
    options.rank = rank;
    options.generation = 1 + team->suite.seed;
    memset(options.secret, 7, sizeof options.secret);
    options.rendezvous = team->rendezvous;
    options.listener = team->listeners[rank];
    if (ls_group_create(team->provider, &options, &group, &err) != LS_OK) {
        fprintf(stderr, "rank %d: %s\n", rank, err.message);
        return 1;
    }
    failures = suite_run(group, &team->suite);
    if (failures == 0) {
        struct ls_collective barrier = {.kind = LS_BARRIER};
        failures = ls_group_run(group, &barrier, &err) != LS_OK;
    }
    ls_group_destroy(group);
    return failures;
}

static void *thread_main(void *argument)
{
    struct job *job = argument;

    job->failures = run_member(job->team, job->rank);
    return NULL;
}

static int run_threads(struct team *team)
{
    pthread_t threads[LS_MAX_MEMBERS];
    struct job jobs[LS_MAX_MEMBERS];
    int failures = 0;

    for (int r = 0; r < team->world; r++) {
        jobs[r] = (struct job){team, r, 0};
        pthread_create(&threads[r], NULL, thread_main, &jobs[r]);
    }
    for (int r = 0; r < team->world; r++) {
        pthread_join(threads[r], NULL);
        failures += jobs[r].failures;
    }
    return failures;
}

static int run_processes(struct team *team)
{
    pid_t pids[LS_MAX_MEMBERS];
    int failures = 0;

    for (int r = 0; r < team->world; r++) {
        pids[r] = fork();
        if (pids[r] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (int i = 0; i < team->world; i++)
                if (i != r && team->listeners[i] >= 0)
                    close(team->listeners[i]);
            _exit(run_member(team, r) != 0);
        }
    }
    for (int r = 0; r < team->world; r++) {
        int status;
        waitpid(pids[r], &status, 0);
        failures += status != 0;
    }
    return failures;
}

/* Listening sockets of all members, made before any of them connects. */
static void listen_all(struct team *team)
{
    for (int r = 0; r < team->world; r++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        team->listeners[r] = -1;
        if (strcmp(team->provider, "tcp") != 0)
            continue;
        team->listeners[r] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bind(team->listeners[r], (struct sockaddr *)&address, sizeof address);
        listen(team->listeners[r], 64);
        getsockname(team->listeners[r], (struct sockaddr *)&address, &length);
        team->members[r].port = ntohs(address.sin_port);
    }
}

static int number(const char *text, int otherwise)
{
    int64_t value;

    return text != NULL && ls_str_to_i64(text, &value) ? (int)value : otherwise;
}

int main(int argc, char **argv)
{
    struct team team = {.directory = "/tmp/lockstep-test-XXXXXX"};
    int failures;

    if (argc < 4) {
        fprintf(stderr, "usage: %s PROVIDER threads|processes WORLD [SEED [ROUNDS]]\n", argv[0]);
        return 2;
    }
    team.provider = argv[1];
    team.world = number(argv[3], 2);
    team.suite = (struct suite_options){.seed = (uint64_t)number(argc > 4 ? argv[4] : NULL, 1),
                                        .rounds = number(argc > 5 ? argv[5] : NULL, 60),
                                        .max_count = 200000};
    if (mkdtemp(team.directory) == NULL)
        return 2;
    snprintf(team.rendezvous, sizeof team.rendezvous, "%s/group", team.directory);
    for (int r = 0; r < team.world; r++) {
        team.members[r].worker = 100 + (uint64_t)r;
        team.members[r].incarnation = 1;
        (void)ls_str_into(team.members[r].host, sizeof team.members[r].host, "here");
        (void)ls_str_into(team.members[r].address, sizeof team.members[r].address, "127.0.0.1");
    }
    listen_all(&team);
    failures = strcmp(argv[2], "threads") == 0 ? run_threads(&team) : run_processes(&team);
    rmdir(team.directory);
    return failures != 0;
}
