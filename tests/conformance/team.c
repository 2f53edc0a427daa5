/* SPDX-License-Identifier: Apache-2.0 */
/* See team.h. Children die with the program. */
#include "tests/conformance/team.h"

#include "collective/provider/mpi/launch.h"
#include "collective/transport/sim/network.h"
#include "collective/transport/tcp/listen.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAUNCHED_REPLICAS 16

static bool listen_at(struct team *team, int r)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    team->listeners[r] = fd;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return false;
    team->members[r].port = ntohs(address.sin_port);
    return true;
}

/* One that loses, delays and repeats packets; members are threads. */
static bool make_network(struct team *team)
{
    struct ls_sim_options options = LS_SIM_OPTIONS_DEFAULT;

    options.seed = (uint64_t)team->world;
    options.world = team->world;
    options.slow_permille = 20;
    options.loss_permille = 50;
    options.duplicate_permille = 50;
    options.packet_bytes = 60000;
    options.window_bytes = 300000;
    return ls_sim_network_create(&options, &team->network, NULL) == LS_OK;
}

void team_name(struct team *team, const char *provider)
{
    static const char *const listening[] = {"tcp", "nccl", "hybrid", "hybrid-nccl"};

    memset(team, 0, sizeof *team);
    (void)snprintf(team->name, sizeof team->name, "%.*s", (int)strcspn(provider, ":"), provider);
    team->provider = team->name;
    team->hosts = strchr(provider, ':') != NULL ? strchr(provider, ':') + 1 : NULL;
    for (size_t i = 0; i < sizeof listening / sizeof listening[0]; i++)
        team->listens = team->listens || strcmp(team->provider, listening[i]) == 0;
}

/* The host that is pretended for a rank. */
static void name_host(struct team *team, int r)
{
    const char *hosts = team->hosts != NULL ? team->hosts : "a";

    (void)snprintf(team->members[r].host, sizeof team->members[r].host, "host-%c", hosts[(size_t)r % strlen(hosts)]);
}

bool team_init(struct team *team, const char *provider, int world)
{
    bool ok = true;

    team_name(team, provider);
    team->world = world;
    team->generation = 1;
    team->form_deadline_ms = 20000;
    team->wait_deadline_ms = 60000;
    (void)ls_str_into(team->directory, sizeof team->directory, "/tmp/lockstep-test-XXXXXX");
    if (mkdtemp(team->directory) == NULL)
        return false;
    (void)snprintf(team->rendezvous, sizeof team->rendezvous, "%s/group", team->directory);
    for (int r = 0; r < world; r++) {
        team->members[r].worker = 100 + (uint64_t)r;
        team->members[r].index = 100 + r;
        team->members[r].incarnation = 1;
        name_host(team, r);
        (void)ls_str_into(team->members[r].address, sizeof team->members[r].address, "127.0.0.1");
        team->listeners[r] = -1;
        if (team->listens)
            ok = ok && listen_at(team, r);
    }
    return ok && (strcmp(team->provider, "sim") != 0 || make_network(team));
}

void team_deinit(struct team *team)
{
    ls_sim_network_destroy(team->network);
    (void)unlink(team->rendezvous);
    (void)rmdir(team->directory);
}

struct ls_group_options team_options(const struct team *team, int rank)
{
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;

    options.members = team->members;
    options.world = team->world;
    options.rank = rank;
    options.generation = team->generation;
    memset(options.secret, 7, sizeof options.secret);
    options.rendezvous = team->rendezvous;
    options.listener = team->listeners[rank];
    options.network = team->network;
    options.any_order = team->any_order;
    options.bf16_wire = team->bf16_wire;
    options.form_deadline_ms = team->form_deadline_ms;
    options.wait_deadline_ms = team->wait_deadline_ms;
    return options;
}

struct ls_group *team_join(struct team *team, int rank)
{
    struct ls_group_options options = team_options(team, rank);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group;

    if (ls_group_create(team->provider, &options, &group, &err) == LS_OK)
        return group;
    fprintf(stderr, "rank %d: %s\n", rank, err.message);
    return NULL;
}

struct job {
    struct team *team;
    int rank;
    team_member function;
    void *argument;
    int result;
};

static void *thread_main(void *argument)
{
    struct job *job = argument;

    job->result = job->function(job->team, job->rank, job->argument);
    return NULL;
}

static int run_some(struct team *team, int first, int count, team_member function, void *argument)
{
    pthread_t threads[LS_MAX_MEMBERS];
    struct job jobs[LS_MAX_MEMBERS];
    int failures = 0;

    for (int r = 0; r < count; r++) {
        jobs[r] = (struct job){team, first + r, function, argument, 0};
        if (pthread_create(&threads[r], NULL, thread_main, &jobs[r]) != 0)
            abort();
    }
    for (int r = 0; r < count; r++) {
        pthread_join(threads[r], NULL);
        failures += jobs[r].result != 0;
    }
    return failures;
}

int team_run_threads(struct team *team, team_member function, void *argument)
{
    return run_some(team, 0, team->world, function, argument);
}

/* What a process that mpirun started tells the others. */
struct place {
    char host[64];
    char address[64];
    uint16_t ports[LAUNCHED_REPLICAS];
};

/* Listeners of the own members, where the first process can reach them. */
static bool listen_for(struct team *team, const char *first, int member, struct place *place, int replica)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    struct ls_error err = LS_ERROR_INIT;

    if (ls_tcp_listen(first, &team->listeners[member], &place->ports[replica], &err) != LS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return false;
    }
    return getsockname(team->listeners[member], (struct sockaddr *)&address, &length) == 0 &&
           getnameinfo((struct sockaddr *)&address, length, place->address, sizeof place->address, NULL, 0,
                       NI_NUMERICHOST) == 0;
}

/* Everybody tells everybody where it listens. */
static bool exchange_places(struct team *team, int process, int replicas)
{
    char first[64] = "";
    bool ok = gethostname(first, sizeof first - 1) == 0 && ls_mpi_bcast_bytes(first, sizeof first, 0, NULL) == LS_OK;

    for (int p = 0; p < team->world / replicas && ok; p++) {
        struct place place = {.host = ""};
        if (p == process)
            ok = gethostname(place.host, sizeof place.host - 1) == 0;
        for (int i = 0; i < replicas && p == process && ok; i++)
            ok = listen_for(team, first, p * replicas + i, &place, i);
        /* Also where it went wrong here: the others wait for this. */
        ok = ls_mpi_bcast_bytes(&place, sizeof place, p, NULL) == LS_OK && ok && place.ports[0] != 0;
        for (int i = 0; i < replicas; i++) {
            struct ls_member *member = &team->members[p * replicas + i];
            (void)ls_str_into(member->host, sizeof member->host, place.host);
            (void)ls_str_into(member->address, sizeof member->address, place.address);
            member->port = place.ports[i];
        }
    }
    return ok;
}

int team_run_launched(struct team *team, int replicas, team_member function, void *argument)
{
    struct ls_error err = LS_ERROR_INIT;
    int processes;
    int process;

    if (ls_mpi_launch_open(&process, &processes, &err) != LS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    team->world = processes * replicas;
    team->form_deadline_ms = 20000;
    team->wait_deadline_ms = 60000;
    for (int r = 0; r < team->world; r++) {
        team->members[r] = (struct ls_member){
            .worker = 100 + (uint64_t)(r / replicas), .index = 100 + r / replicas, .replica = r % replicas};
        team->listeners[r] = -1;
    }
    if (team->listens && (replicas > LAUNCHED_REPLICAS || !exchange_places(team, process, replicas))) {
        fprintf(stderr, "process %d: the members cannot tell each other where they listen\n", process);
        ls_mpi_finalize(1);
        return 1;
    }
    for (int r = 0; r < team->world && team->hosts != NULL; r++)
        name_host(team, r);
    int failures = run_some(team, process * replicas, replicas, function, argument);
    ls_mpi_finalize(failures != 0);
    return failures;
}

pid_t team_spawn(struct team *team, int rank, team_member function, void *argument)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < team->world; i++)
        if (i != rank && team->listeners[i] >= 0)
            close(team->listeners[i]);
    _exit(function(team, rank, argument) != 0);
}

int team_run_processes(struct team *team, team_member function, void *argument)
{
    pid_t pids[LS_MAX_MEMBERS];
    int failures = 0;

    for (int r = 0; r < team->world; r++)
        pids[r] = team_spawn(team, r, function, argument);
    for (int r = 0; r < team->world; r++) {
        int status = 0;
        if (pids[r] < 0 || waitpid(pids[r], &status, 0) < 0 || status != 0)
            failures++;
    }
    return failures;
}
