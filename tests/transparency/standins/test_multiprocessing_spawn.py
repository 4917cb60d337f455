from standin import install

install(globals(), "spawn")
