# ActiveRecord.  Cases: plain; evicting (statement_limit: 3, as after 1,000 statements); no-prepare (prepared_statements: false).
require "active_record"
kind, client = ARGV[0], ENV["CLIENT"].to_i
options = { adapter: "postgresql", sslmode: "require", host: ENV["PGHOST"], port: ENV["PGPORT"], username: ENV["PGUSER"],
            password: ENV["PGPASSWORD"], database: ENV["PGDATABASE"] }
options[:statement_limit] = 3 if kind != "plain"
options[:prepared_statements] = false if kind == "no-prepare"
# What a Rails with migrations would take a lock for, and the settings that it makes by SET, are not asked here.
ActiveRecord::Base.establish_connection(options)
class Part < ActiveRecord::Base
  self.table_name = "driver_parts"
end
right = wrong = failed = 0
first = ""
Part.first
pause = ENV["AT"].to_f - Time.now.to_f
sleep(pause) if pause > 0
ENV["ROUNDS"].to_i.times do |i|
  begin
    work = proc do
      # Queries of other shapes, so that statements are evicted; what has SQL of the program in it is not prepared.
      %i[id name weight].permutation.each do |columns|
        found = Part.where(id: client).order(*columns).first
        [found.id, found.name] == [client, "part #{client}"] ? right += 1 : wrong += 1
      end
    end
    i.odd? ? Part.transaction(&work) : work.call
  rescue => error
    first = "#{error.class}: #{error.message}" if first.empty?
    failed += 1
  end
end
puts "#{right} #{wrong} #{failed} #{first.gsub(/\s+/, " ")}"
