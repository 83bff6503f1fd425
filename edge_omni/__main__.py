from edge_omni.cli import main

main()
