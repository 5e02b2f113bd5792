[
  inputs: [
    "{mix,.formatter}.exs",
    "../../examples/elixir/*.exs",
    "{bench,config,lib,mix,scripts,test}/**/*.{ex,exs}"
  ],
  line_length: 110
]
