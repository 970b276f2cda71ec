"""Intervals and time limits of the service that somebody may want other than they are, above all tests.

One value of this class is passed down from the start of the service to the loops; nothing reads a global.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All in seconds."""

    # Statistics of pools: the interval of sampling, for clusters that somebody watches and for all others.
    watched_sample_interval: float = 2.0
    sample_interval: float = 15.0
    sample_timeout: float = 2.0
    # The activity of many clusters at a glance: a pooler that has not answered by then is reported as
    # unknown, and none is asked more often, however many look.
    activity_timeout: float = 0.5
    activity_max_age: float = 3.0
    # Those who follow the same pools share the advice of a sample.
    advice_max_age: float = 3.0
    # Passes over a node of which nothing was heard, and over one whose storage is nearly full.
    resync_interval: float = 20.0
    full_look_interval: float = 600.0  # at a node in which nothing seems to happen
    resync_interval_nearly_full: float = 2.0
    disk_use_max_age: float = 15.0
    disk_use_max_age_nearly_full: float = 1.5
    backoff_first: float = 0.5  # after a failed pass
    backoff_max: float = 30.0
    reap_interval: float = 0.5
    announce_interval: float = 10.0
    announce_interval_unseen: float = 1.0  # after a start, until each node was seen
    stall_time: float = 120.0  # of a pass, after which the node is reported as stalled
    # The agent looks for folders of clusters that no record has here; a deletion that it carries out so much
    # later than it was asked for moves the data to the trash.
    sweep_interval: float = 120.0
    late_deletion: float = 600.0
    # The controller: growth, events and removals follow the records at once, pruning by interval.
    prune_first: float = 60.0
    prune_interval: float = 600.0
    # Names in the operator's name server: looks at what it answers, and attempts after a failure.
    names_interval: float = 600.0
    names_retry_first: float = 1.0
    names_retry_max: float = 60.0
    # Automatic backups of the service: looks at whether one is due, the age of the newest at which it is, and
    # at which it is if clusters have changed; attempts after a failure.
    service_copy_look: float = 60.0
    service_copy_age: float = 86_400.0
    service_copy_age_changed: float = 3600.0
    service_copy_retry: float = 600.0
    certificate_interval: float = 60.0  # between looks at the API's certificate
    log_space_interval: float = 2.0  # between looks at the sizes of servers' logs
    # Log sinks.
    log_poll_interval: float = 0.3
    log_quiet: float = 0.2  # without a further byte, after which a message at the end of a log is complete
    log_retry_first: float = 0.5
    log_retry_max: float = 60.0
    log_loss_event_interval: float = 60.0
    log_housekeeping_interval: float = 3600.0
    connect_timeout: float = 10.0
    name_lookup_timeout: float = 10.0
    # Backups: looks for one that is due, at a server's archiver and at the repository, and attempts after one
    # that failed.
    backup_poll_interval: float = 1.0
    archiving_interval: float = 60.0
    repository_interval: float = 3600.0
    repository_retry: float = 60.0
    backup_progress_interval: float = 5.0
    backup_retry_first: float = 15.0
    backup_retry_max: float = 1800.0
    # Restores: looks at how far one is, and attempts after one that failed.
    restore_poll_interval: float = 0.2
    restore_retry_first: float = 1.0
    restore_retry_max: float = 60.0
    drill_retry: float = 3600.0  # after a drill that came to no result
    # A process that SIGKILL has not ended by then waits for a disk that does not answer.
    kill_timeout: float = 10.0


DEFAULT = Timing()
