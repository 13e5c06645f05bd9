# Starts and ends the servers of one test process, in one folder. It takes orders from its standard input, a pipe that
# only that process holds: when the pipe closes, the process is gone, however it went (a panic, kill -9), and then this
# ends every server it started and removes the folder. Only processes that it started itself, by their id.
#
#   start NAME                 runs FOLDER/NAME.sh, output to FOLDER/NAME.log   -> its process id
#   end NAME SIGNAL SECONDS    the signal, and KILL after so many seconds       -> ok
#   signal NAME SIGNAL         the signal alone                                 -> ok
#   alive NAME                 whether it still runs                            -> yes | no

folder=$1
names=

id_of() { eval "printf %s \"\${pid_$1:-}\""; }

# A child of this very shell that is no zombie: so a number that the system has given to somebody else is never hit.
alive() {
    status=/proc/$1/status
    [ -n "$1" ] && grep -q "^PPid:[[:space:]]*$$\$" "$status" 2>/dev/null && ! grep -q '^State:[[:space:]]*Z' "$status" 2>/dev/null
}

end() {
    pid=$(id_of "$1")
    tenths=$(($3 * 10))
    alive "$pid" && kill -"$2" "$pid" && kill -CONT "$pid"
    while alive "$pid"; do
        [ "$tenths" -gt 0 ] || kill -KILL "$pid"
        tenths=$((tenths - 1))
        sleep 0.1
    done
    # A zombie may have threads that still hold its files and ports: this returns when all is over.
    [ -z "$pid" ] || wait "$pid"
    eval "pid_$1="
}

while read -r order name signal seconds; do
    case $order in
    start)
        sh "$folder/$name.sh" </dev/null >>"$folder/$name.log" 2>&1 &
        eval "pid_$name=$!"
        case " $names " in *" $name "*) ;; *) names="$name $names" ;; esac
        id_of "$name"
        echo
        ;;
    end) end "$name" "$signal" "$seconds" && echo ok ;;
    signal) pid=$(id_of "$name") && alive "$pid" && kill -"$signal" "$pid" && echo ok || echo no ;;
    alive) alive "$(id_of "$name")" && echo yes || echo no ;;
    esac
done

# Last started, first ended.
for name in $names; do
    end "$name" TERM 3
done
cd / && rm -rf "$folder"
