# The gem pg.  Cases: plain (exec_params); named (prepare and exec_prepared, freed by DEALLOCATE as ActiveRecord does).
require "pg"
kind, client = ARGV[0], ENV["CLIENT"].to_i
right = wrong = failed = 0
first = ""
db = PG.connect
pause = ENV["AT"].to_f - Time.now.to_f
sleep(pause) if pause > 0
ENV["ROUNDS"].to_i.times do |i|
  2.times do |text|
    begin
      sql = "SELECT $1::int + #{client} * 1000 + #{text} * 100000"
      answer = if kind == "plain"
        db.exec_params(sql, [i])
      else
        name = "s#{i}_#{text}"
        db.prepare(name, sql)
        db.exec_prepared(name, [i]).tap { db.exec("DEALLOCATE #{name}") }
      end
      answer.getvalue(0, 0).to_i == i + client * 1000 + text * 100_000 ? right += 1 : wrong += 1
    rescue => error
      first = "#{error.class}: #{error.message}" if first.empty?
      failed += 1
    end
  end
end
puts "#{right} #{wrong} #{failed} #{first.gsub(/\s+/, " ")}"
