"""The command line: a thin face, one verb for one public function of `bitlaw.api`; nothing is computed here.

    main.py      the parser, `--help`, errors -> one line and an exit code
    verb.py      what a verb is
    output.py    results as text or JSON
    demo_text.py the demo's result as text
    models.py    demo, train, measure, suites
    records.py   records
    numbers.py   fit, law, report, catalog
    questions.py predict, tokens-to-train, training-level, critical-tokens, fewest-bits
    choices.py   project, plan, compare-laws
    asking.py    what the questions share

To add a verb: write its `Verb` in the file it belongs to and name it in `main.VERBS`.
"""
