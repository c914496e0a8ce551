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
    # It was told cancelled, and ran to its end: the first look for it was older than its prompt.
    "a poll that began before a job was accepted": (
        '{"seed":936,"shape":"session","version":"0.9.0","servers":1,"sessions":1,"poll":false,"s'
        'huffle":false,"named":true,"step_seconds":0.1,"history_delay":0.0,"delay":[0.05,0.2],"pi'
        'eces":0.0,"storm":20.0,"steps":[{"at":0.665,"kind":"cached","number":1},{"at":0.692,"kin'
        'd":"iterate","number":3},{"at":9.023,"kind":"upload","number":2},{"at":11.348,"kind":"ca'
        'ncel_twice","number":4}],"faults":[{"at":0.4,"kind":"deafen","number":49},{"at":0.448,"k'
        'ind":"deafen","number":7},{"at":0.547,"kind":"slow_history","number":27},{"at":0.81,"kin'
        'd":"deafen","number":14},{"at":0.837,"kind":"slow_history","number":8},{"at":1.161,"kind'
        '":"slow_history","number":37},{"at":1.427,"kind":"deafen","number":47},{"at":1.476,"kind'
        '":"deafen","number":52},{"at":2.703,"kind":"deafen","number":40},{"at":2.72,"kind":"deaf'
        'en","number":6},{"at":3.178,"kind":"slow_history","number":39},{"at":3.194,"kind":"deafe'
        'n","number":2},{"at":3.472,"kind":"slow_history","number":32},{"at":3.895,"kind":"slow_h'
        'istory","number":18},{"at":3.911,"kind":"deafen","number":20},{"at":3.95,"kind":"slow_hi'
        'story","number":11},{"at":4.177,"kind":"deafen","number":45},{"at":4.654,"kind":"slow_hi'
        'story","number":56},{"at":4.825,"kind":"slow_history","number":41},{"at":5.343,"kind":"d'
        'eafen","number":46},{"at":5.979,"kind":"deafen","number":44},{"at":6.224,"kind":"deafen"'
        ',"number":57},{"at":6.287,"kind":"slow_history","number":24},{"at":6.347,"kind":"deafen"'
        ',"number":43},{"at":6.639,"kind":"deafen","number":30},{"at":6.862,"kind":"slow_history"'
        ',"number":5},{"at":7.997,"kind":"deafen","number":60},{"at":8.98,"kind":"deafen","number'
        '":12},{"at":9.637,"kind":"deafen","number":26},{"at":9.648,"kind":"slow_history","number'
        '":54},{"at":10.182,"kind":"deafen","number":48},{"at":10.205,"kind":"deafen","number":34'
        '},{"at":10.291,"kind":"slow_history","number":33},{"at":11.942,"kind":"deafen","number":'
        '25},{"at":12.04,"kind":"deafen","number":17},{"at":12.115,"kind":"slow_history","number"'
        ':28},{"at":12.61,"kind":"deafen","number":53},{"at":12.77,"kind":"deafen","number":4},{"'
        'at":12.817,"kind":"slow_history","number":50},{"at":13.072,"kind":"slow_history","number'
        '":55},{"at":13.55,"kind":"deafen","number":19},{"at":14.252,"kind":"deafen","number":3},'
        '{"at":14.331,"kind":"slow_history","number":36},{"at":14.75,"kind":"deafen","number":35}'
        ',{"at":15.069,"kind":"deafen","number":31},{"at":15.711,"kind":"slow_history","number":5'
        '8},{"at":15.713,"kind":"slow_history","number":23},{"at":15.904,"kind":"deafen","number"'
        ':59},{"at":15.94,"kind":"deafen","number":1},{"at":15.977,"kind":"slow_history","number"'
        ':51},{"at":16.494,"kind":"slow_history","number":22},{"at":17.901,"kind":"slow_history",'
        '"number":16},{"at":18.262,"kind":"slow_history","number":29},{"at":18.368,"kind":"deafen'
        '","number":10},{"at":18.507,"kind":"deafen","number":21},{"at":19.053,"kind":"deafen","n'
        'umber":9},{"at":19.275,"kind":"deafen","number":15},{"at":19.456,"kind":"slow_history","'
        'number":38},{"at":19.503,"kind":"deafen","number":42},{"at":19.518,"kind":"slow_history"'
        ',"number":13}]}'
    ),
    # The loop turned without a pause until a stream was open.
    "a poll at once that found nobody to ask for": (
        '{"seed":9,"shape":"session","version":"v2 polled","servers":1,"sessions":1,"poll":fal'
        'se,"shuffle":false,"named":false,"step_seconds":0.1,"history_delay":0.0,"delay":[0.05'
        ',0.2],"pieces":0.0,"storm":5.0,"steps":[{"at":2.204,"kind":"iterate","number":3},{"at'
        '":3.944,"kind":"cancel","number":4}],"faults":[]}'
    ),
    # It was told cancelled, and had completed: the second look had found that.
    "a job that is called expired at the moment of its end": (
        '{"seed":62,"shape":"session","version":"v2 deployment","servers":1,"sessions":1,"poll'
        '":false,"shuffle":false,"named":false,"step_seconds":0.01,"history_delay":0.05,"delay'
        '":[0.001,0.05],"pieces":0.0,"storm":60.0,"steps":[{"at":0.743,"kind":"cached","number'
        '":7},{"at":4.245,"kind":"fail","number":20},{"at":8.643,"kind":"iterate","number":5},'
        '{"at":14.221,"kind":"iterate","number":6},{"at":17.534,"kind":"cancel","number":19}],'
        '"faults":[{"at":1.232,"kind":"stall_stream","number":15},{"at":17.101,"kind":"expire_'
        'falsely","number":2}]}'
    ),
    # Nobody closed that connection: the pool had forgotten it.
    "a session that was closed while a connection was being made": (
        '{"seed":566,"shape":"session","version":"v2 proxy","servers":1,"sessions":1,"poll":fa'
        'lse,"shuffle":false,"named":true,"step_seconds":0.0,"history_delay":0.0,"delay":[0.00'
        '01,0.001],"pieces":0.0,"storm":5.0,"steps":[{"at":2.765,"kind":"close","number":12}],'
        '"faults":[]}'
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
    "no_pause_after_a_failure": (
        '{"seed":270,"shape":"session","version":"v2 polled","servers":1,"sessions":1,"poll":f'
        'alse,"shuffle":false,"named":false,"step_seconds":0.5,"history_delay":0.0,"delay":[0.'
        '0001,0.001],"pieces":0.0,"storm":20.0,"steps":[{"at":0.106,"kind":"cancel","number":1'
        '}],"faults":[{"at":0.519,"kind":"fail_other","number":5}]}'
    ),
    "posted_under_another_key": (
        '{"seed":47,"shape":"session","version":"v2","servers":1,"sessions":1,"poll":false,"sh'
        'uffle":false,"named":false,"step_seconds":0.0,"history_delay":0.0,"delay":[0.0001,0.0'
        '01],"pieces":0.0,"storm":20.0,"steps":[{"at":15.641,"kind":"download","number":3}],"f'
        'aults":[{"at":11.717,"kind":"fail_submit","number":4}]}'
    ),
    "expired_believed": (
        '{"seed":40,"shape":"session","version":"v2 polled","servers":1,"sessions":1,"poll":fa'
        'lse,"shuffle":false,"named":false,"step_seconds":0.01,"history_delay":0.0,"delay":[0.'
        '0001,0.001],"pieces":0.0,"storm":60.0,"steps":[{"at":39.871,"kind":"slow","number":2}'
        '],"faults":[{"at":34.795,"kind":"expire_falsely","number":42}]}'
    ),
}
