"""Worlds that are kept: those that found a defect of the package, and those that find the planted ones."""

from __future__ import annotations

from typing import Final

FOUND: Final[dict[str, str]] = {
    # It ran twice: the id in the results file said nothing to the server.
    "a batch that died before it could note the id an old server chose": (
        '{"seed":5,"shape":"session","version":"0.3.44","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":1.0,"history_delay":0.0,"delay":[0.05,0.2],"pieces":0.'
        '0,"storm":5.0,"steps":[{"at":0.5,"kind":"map_crash","number":1}],"faults":[]}'
    ),
    # The job ran on, known to nobody, and again in the next batch.
    "no room to note the id that the cloud chose": (
        '{"seed":3,"shape":"session","version":"cloud","servers":1,"sessions":1,"poll":false,"shuffle'
        '":false,"named":false,"step_seconds":2.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces"'
        ':0.0,"storm":5.0,"steps":[{"at":0.5,"kind":"map_full_disk","number":1}],"faults":[]}'
    ),
    # websockets' task for pings outlived the session.
    "a socket that broke as soon as it was open": (
        '{"seed":17,"shape":"session","version":"cloud","servers":1,"sessions":2,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.001,0.05],"pieces":'
        '0.0,"storm":20.0,"steps":[{"at":1.042,"kind":"upload","number":10},{"at":1.907,"kind":"late"'
        ',"number":7},{"at":5.626,"kind":"cached","number":5}],"faults":[{"at":5.916,"kind":"drop","n'
        'umber":1}]}'
    ),
    # It completed with half of its outputs: the socket had missed the beginning.
    "a socket that opened between a prompt and its answer": (
        '{"seed":487,"shape":"session","version":"0.45.2","servers":1,"sessions":1,"poll":false,"'
        'shuffle":false,"named":false,"step_seconds":0.1,"history_delay":0.0,"delay":[0.05,0.2],"'
        'pieces":0.0,"storm":60.0,"steps":[{"at":9.451,"kind":"run","number":3}],"faults":[{"at":'
        '2.046,"kind":"delay","number":3},{"at":3.888,"kind":"accept_and_close","number":1}]}'
    ),
}

PLANTED: Final[dict[str, str]] = {
    "cancel_believed": (
        '{"seed":4,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":5.0,"steps":[{"at":2.523,"kind":"leave","number":45}],"faults":[{"at":0.997,"k'
        'ind":"accept_and_close","number":10}]}'
    ),
    "cancel_hits_others": (
        '{"seed":2,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.5,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":60.0,"steps":[{"at":38.409,"kind":"slow","number":24},{"at":38.902,"kind":"can'
        'cel","number":11}],"faults":[]}'
    ),
    "cancel_said_once": (
        '{"seed":2,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":2.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":5.0,"steps":[{"at":0.4,"kind":"cancel","number":6}],"faults":[{"at":0.4,"kind"'
        ':"miss_cancel","number":1}]}'
    ),
    "connection_left_at_closing": (
        '{"seed":1,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":60.0,"steps":[{"at":46.662,"kind":"run","number":5}],"faults":[]}'
    ),
    "deaf_believed": (
        '{"seed":2,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":60.0,"steps":[{"at":8.874,"kind":"run","number":3}],"faults":[{"at":8.115,"kin'
        'd":"accept_and_close","number":49}]}'
    ),
    "failed_runs_elsewhere": (
        '{"seed":29,"shape":"pool","version":"0.33.0","servers":2,"sessions":1,"poll":false,"shuffle"'
        ':false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces":'
        '0.0,"storm":20.0,"steps":[{"at":10.558,"kind":"fail","number":9}],"faults":[]}'
    ),
    "gap_not_marked": (
        '{"seed":1,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.3,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":5.0,"steps":[{"at":0.6000000000000001,"kind":"iterate","number":9}],"faults":['
        '{"at":1.0999999999999999,"kind":"drop","number":3}]}'
    ),
    "given_up_at_once": (
        '{"seed":1,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":60.0,"steps":[{"at":5.04,"kind":"iterate","number":29}],"faults":[{"at":0.534,'
        '"kind":"fail_submit","number":1}]}'
    ),
    "key_to_others": (
        '{"seed":17,"shape":"session","version":"cloud","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":20.0,"steps":[{"at":8.668,"kind":"download","number":2}],"faults":[]}'
    ),
    "key_under_another_name": (
        '{"seed":17,"shape":"session","version":"cloud","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":20.0,"steps":[{"at":8.668,"kind":"download","number":2}],"faults":[]}'
    ),
    "never_polls": (
        '{"seed":2,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":60.0,"steps":[{"at":8.874,"kind":"run","number":3}],"faults":[{"at":8.115,"kin'
        'd":"accept_and_close","number":49}]}'
    ),
    "no_look_after_reconnecting": (
        '{"seed":2,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":60.0,"steps":[{"at":8.874,"kind":"run","number":3}],"faults":[{"at":8.115,"kin'
        'd":"accept_and_close","number":49}]}'
    ),
    "not_left": (
        '{"seed":16,"shape":"session","version":"0.33.0","servers":1,"sessions":3,"poll":false,"shuff'
        'le":false,"named":false,"step_seconds":0.5,"history_delay":0.5,"delay":[0.0001,0.001],"piece'
        's":0.0,"storm":20.0,"steps":[{"at":6.861,"kind":"cancel","number":10},{"at":7.394,"kind":"it'
        'erate","number":8},{"at":8.065,"kind":"late","number":4},{"at":8.855,"kind":"give_up","numbe'
        'r":2}],"faults":[]}'
    ),
    "not_noted_before_the_post": (
        '{"seed":7,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":20.0,"steps":[{"at":1.715,"kind":"map_full_disk","number":2}],"faults":[]}'
    ),
    "not_rebound": (
        '{"seed":9,"shape":"session","version":"0.3.10","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":5.0,"steps":[{"at":3.667,"kind":"cancel_twice","number":10}],"faults":[]}'
    ),
    "posted_twice": (
        '{"seed":1,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":60.0,"steps":[{"at":47.874,"kind":"attach","number":37}],"faults":[{"at":0.534'
        ',"kind":"fail_submit","number":1}]}'
    ),
    "renamed_not_found": (
        '{"seed":5,"shape":"session","version":"0.3.44","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":1.0,"history_delay":0.0,"delay":[0.05,0.2],"pieces":0.'
        '0,"storm":5.0,"steps":[{"at":0.5,"kind":"map_crash","number":1}],"faults":[]}'
    ),
    "submit_not_taken_back": (
        '{"seed":13,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuff'
        'le":false,"named":false,"step_seconds":0.1,"history_delay":0.5,"delay":[0.0001,0.001],"piece'
        's":0.0,"storm":5.0,"steps":[{"at":0.349,"kind":"run","number":11},{"at":0.452,"kind":"fail",'
        '"number":9},{"at":0.519,"kind":"late","number":12},{"at":0.725,"kind":"late","number":1},{"a'
        't":1.118,"kind":"run","number":2},{"at":1.866,"kind":"iterate","number":6},{"at":2.115,"kind'
        '":"slow","number":5},{"at":2.736,"kind":"give_up","number":4}],"faults":[]}'
    ),
    "two_ends": (
        '{"seed":3,"shape":"session","version":"0.33.0","servers":1,"sessions":1,"poll":false,"shuffl'
        'e":false,"named":false,"step_seconds":0.1,"history_delay":0.0,"delay":[0.0001,0.001],"pieces'
        '":0.0,"storm":5.0,"steps":[{"at":3.904,"kind":"cancel_twice","number":4}],"faults":[]}'
    ),
}
