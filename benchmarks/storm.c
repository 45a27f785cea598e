/* The storm generator: makes orphans on command. storm.py has the same protocol, for machines without a compiler.
 *
 * storm NAME           reads commands from stdin, answers each with one line of key=value pairs; NAME becomes its comm,
 *                      by which the tracepoints are filtered.
 *   live COUNT         orphans that stay alive
 *   paced RATE COUNT   orphans that exit at once, one at each planned instant start + i / RATE
 *   flat COUNT         the same without a plan
 *   burst COUNT        COUNT zombies whose parent exits: all are handed to the init in one instant
 * storm NAME receive   writes 8 bytes, CLOCK_MONOTONIC in nanoseconds, for each SIGUSR1; a 0 when it is ready
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void sleep_until(int64_t instant)
{
    struct timespec t = { instant / 1000000000, instant % 1000000000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

/* An orphan, by way of a parent that exits. Returns 0 or the errno with which fork(2) was refused. The parent is a
 * vfork(2): it shares our memory while we are stopped, so that one copy is made for each orphan and not two. */
static int make_orphan(int stays)
{
    int status = 0;
    pid_t parent = vfork();
    if (parent < 0)
        return errno;
    if (parent == 0) {
        pid_t orphan = fork();
        if (orphan == 0) {
            while (stays)
                pause();
            _exit(0);
        }
        _exit(orphan < 0 ? errno : 0);
    }
    while (waitpid(parent, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static void make_live(long count)
{
    long made = 0, refused = 0;
    for (long i = 0; i < count && refused < 100; i++)
        make_orphan(1) ? refused++ : made++;
    printf("made=%ld refused=%ld\n", made, refused);
}

static void make_storm(double rate, long count)
{
    long made = 0, refused = 0, late = 0;
    int64_t first_refused = 0, latest = 0, interval = rate > 0 ? (int64_t)(1e9 / rate) : 0;
    int64_t start = now() + (interval ? 5000000 : 0);
    for (long i = 0; i < count; i++) {
        if (interval) {
            int64_t planned = start + (int64_t)(i * 1e9 / rate);
            if (now() < planned)
                sleep_until(planned);
            int64_t lateness = now() - planned;
            late += lateness > interval;
            if (lateness > latest)
                latest = lateness;
        }
        if (make_orphan(0) == 0)
            made++;
        else if (refused++ == 0)
            first_refused = now();
    }
    printf("made=%ld refused=%ld first_refused=%lld start=%lld end=%lld late=%ld latest=%lld\n", made, refused,
           (long long)first_refused, (long long)start, (long long)now(), late, (long long)latest);
}

static void make_burst(long count)
{
    int64_t start = now();
    int status = 0;
    pid_t parent = fork();
    if (parent == 0) {
        for (long i = 0; i < count; i++) {
            pid_t child = fork();
            if (child == 0)
                _exit(0);
            if (child < 0)
                _exit(errno);
            siginfo_t info;
            waitid(P_PID, child, &info, WEXITED | WNOWAIT); /* waitid(2): it stays a zombie */
        }
        _exit(0);
    }
    while (parent > 0 && waitpid(parent, &status, 0) < 0 && errno == EINTR)
        ;
    int error = parent < 0 ? errno : WEXITSTATUS(status);
    printf("made=%ld refused=%d start=%lld end=%lld\n", error ? 0 : count, error, (long long)start, (long long)now());
}

static void stamp(int number)
{
    int64_t instant = now();
    (void)number;
    if (write(1, &instant, sizeof instant) < 0)
        _exit(1);
}

static int receive(void)
{
    struct sigaction action = { .sa_handler = stamp, .sa_flags = SA_RESTART };
    int64_t ready = 0;
    sigaction(SIGUSR1, &action, NULL);
    if (write(1, &ready, sizeof ready) < 0)
        return 1;
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    char line[100];
    double rate;
    long count;
    if (argc < 2)
        return 1;
    prctl(PR_SET_NAME, argv[1], 0, 0, 0);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* wake at the planned instant, not up to 50 us later: prctl(2) */
    if (argc > 2 && strcmp(argv[2], "receive") == 0)
        return receive();
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "live %ld", &count) == 1)
            make_live(count);
        else if (sscanf(line, "paced %lf %ld", &rate, &count) == 2)
            make_storm(rate, count);
        else if (sscanf(line, "flat %ld", &count) == 1)
            make_storm(0, count);
        else if (sscanf(line, "burst %ld", &count) == 1)
            make_burst(count);
        else
            printf("error=unknown\n");
        fflush(stdout);
    }
    return 0;
}
