# DBD::Pg.  Cases: plain; no-prepare (pg_server_prepare); skip-deallocate (pg_skip_deallocate, since 3.17).
use strict; use warnings; use DBI; use Time::HiRes qw(sleep time);
my ($case, $client) = ($ARGV[0], $ENV{CLIENT});
my %switch = $case eq 'no-prepare' ? (pg_server_prepare => 0) : $case eq 'skip-deallocate' ? (pg_skip_deallocate => 1) : ();
my $db = DBI->connect('dbi:Pg:', undef, undef, {RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, %switch});
my ($right, $wrong, $failed, $first) = (0, 0, 0, '');
my $pause = $ENV{AT} - time; sleep $pause if $pause > 0;
for my $i (0 .. $ENV{ROUNDS} - 1) {
    eval {
        $db->begin_work if $i % 2;
        for my $text (0 .. 1) {  # the first statement is freed when the second one is made
            my $statement = $db->prepare("SELECT ?::int + $client * 1000 + $text * 100000");
            for my $n (1 .. 3) {
                $statement->execute($i);
                my ($answer) = $statement->fetchrow_array; $statement->finish;
                $answer == $i + $client * 1000 + $text * 100000 ? $right++ : $wrong++;
            }
        }
        $db->commit if $i % 2;
        1;
    } or do { $first ||= $@; $failed++; eval { $db->rollback unless $db->{AutoCommit} } };
}
$first =~ s/\s+/ /g;
print "$right $wrong $failed $first\n";
