#!/usr/bin/env bash
# The Elixir binding's own checks: format, a compilation without warnings, ExUnit, dialyzer, and its use as a
# dependency and in a release.
# The table of types of OTP and Elixir that dialyzer needs is made once, into build/plt/.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export MIX_ENV=test

cd bindings/elixir
mix format --check-formatted
mix compile --warnings-as-errors
mix test

elixir_lib=$(elixir -e 'IO.puts(Path.dirname(to_string(:code.lib_dir(:elixir))))')
versions=$(elixir -e 'IO.puts("otp" <> System.otp_release() <> "-elixir" <> System.version())')
plt="$root/build/plt/$versions-exunit.plt"
if [ ! -f "$plt" ]; then
    echo "dialyzer: making the table of types of OTP and Elixir, once: ${plt#"$root"/}"
    mkdir -p "$root/build/plt"
    # Exit 2 is warnings: of Elixir's own calls to applications that are not in the table.
    dialyzer -pa "$elixir_lib/elixir/ebin" --build_plt --output_plt "$plt.new" \
        --apps erts kernel stdlib crypto -r "$elixir_lib/elixir/ebin" "$elixir_lib/logger/ebin" \
        "$elixir_lib/ex_unit/ebin" \
        >"$plt.log" 2>&1 || [ $? -eq 2 ] || { tail -n 20 "$plt.log"; exit 1; }
    mv "$plt.new" "$plt"
fi
dialyzer -pa "$elixir_lib/elixir/ebin" --plt "$plt" -Wunknown -r _build/test/lib/elixir_scope/ebin
echo "dialyzer: no warnings"

"$root/scripts/test_elixir_packages.sh"
