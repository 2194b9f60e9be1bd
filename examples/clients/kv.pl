#!/usr/bin/env perl
# A client of kv with core modules alone: put, get, compare-and-set, and a subscription that resumes.
use v5.28;
use warnings;
use IO::Socket::UNIX;
use JSON::PP;
my $json   = JSON::PP->new->utf8->canonical->allow_nonref;
my $absent = {version => 0, value => 0};    # Version 0: only if the key is still absent.

# A connection to the daemon of the store. `kv socket` finds the daemon, or starts it.
sub connect_kv {
    chomp(my $path = $ENV{KV_SOCKET} || `kv socket`);
    return IO::Socket::UNIX->new(Peer => $path) // die "$path: $!\n";
}

sub read_message {
    my ($kv) = @_;
    my $line = readline($kv) // '';
    die "the daemon went away\n" if $line !~ /\n\z/;    # A line without its newline was cut off.
    return $json->decode($line);
}

# The reply to a request. An error of the daemon is thrown as a hash with `code`, `message` and perhaps `retry`.
sub call {
    my ($kv, $op, %fields) = @_;
    print {$kv} $json->encode({op => $op, %fields}), "\n";
    my $reply = read_message($kv);
    die $reply->{error} if !$reply->{ok};
    return $reply;
}

sub increment {
    my ($kv, $key) = @_;
    while (1) {
        my $record = call($kv, 'get', keys => [$key])->{records}[0] // $absent;
        my $value  = $record->{value} + 1;
        return $value if eval { call($kv, 'put', key => $key, value => $value, version => $record->{version}) };
        die $@ if !ref $@ || $@->{code} ne 'version_mismatch';
    }
}

# Hands on the changes after a seq, each once and in order, from one daemon after the other.
sub follow {
    my ($prefix, $after, $handle) = @_;
    my @epoch;
    while (1) {
        eval {
            my $kv    = connect_kv();
            my $begun = call($kv, 'subscribe', prefix => $prefix, after => $after, @epoch);
            @epoch = (epoch => $begun->{epoch});
            $after = $begun->{seq} if $after eq 'now';
            while (1) {
                my $event = read_message($kv);
                die $event->{error} if $event->{event} eq 'end';
                $after = $event->{seq} // $after;
                $handle->($event) if $event->{event} eq 'change';
            }
        };
        die $@ if !@epoch || (ref $@ && !$@->{retry});    # It never began, or cannot go on.
        select(undef, undef, undef, 0.1);
    }
}

sub show { my ($change) = @_; say join ' ', $change->@{qw(seq action)}, $change->{record}{key} }

binmode(STDOUT, ':encoding(UTF-8)');
STDOUT->autoflush;
$SIG{PIPE} = 'IGNORE';
my ($command, @words) = map { utf8::decode(my $word = $_); $word } @ARGV;
my %run = (
    put => sub { say call(connect_kv(), 'put', key => $_[0], value => $json->decode($ARGV[2]))->{version} },
    get => sub { say JSON::PP->new->allow_nonref->encode(call(connect_kv(), 'get', key => $_[0])->{value}) },
    increment => sub { say increment(connect_kv(), @_) },
    follow    => sub { follow($_[0], defined $_[1] ? $_[1] + 0 : 'now', \&show) },
);
eval { $run{$command}->(@words); 1 } or do {
    print STDERR 'kv.pl: ', ref $@ ? "$@->{message} ($@->{code})\n" : $@;
    exit 1;
};
