[
  inputs: ["{mix,.formatter}.exs", "{config,lib,mix,scripts,test}/**/*.{ex,exs}"],
  line_length: 110
]
